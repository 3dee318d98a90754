"""Minimum class confusion: how much a classifier confuses pairs of classes, measured by its own predictions.

Jin, Wang, Long and Wang 2020, "Minimum Class Confusion for Versatile Domain Adaptation", arXiv:1912.03699, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.training.adaptation.information_maximization import certainty_weights


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Return the mean off-diagonal class confusion over a batch, in [0, 1].

    Probabilities are softened by the temperature. Examples are weighted by 1 + exp(-entropy), scaled to a mean of one
    and without gradient, so that a certain prediction counts up to twice as much as an uncertain one. The confusion
    matrix P^T diag(weights) P is then normalised by row, or by column, as it is symmetric.

    Args:
        logits: Logits of unlabelled examples (B, C), in float32 or float64.
        temperature: Temperature T.
    """
    p = (logits / temperature).softmax(1)
    with torch.no_grad():
        weights = certainty_weights(p)
        weights /= weights.mean()
    with torch.autocast(logits.device.type, enabled=False):
        confusion = (p * weights[:, None]).T @ p
    return 1 - (confusion.diagonal() / confusion.sum(1).clamp_min(torch.finfo(p.dtype).tiny)).mean()
