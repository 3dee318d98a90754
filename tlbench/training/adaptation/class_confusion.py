"""Minimum class confusion: how much a classifier mistakes one class for another, by its own probabilities.

Jin, Wang, Long and Wang 2020, "Minimum Class Confusion for Versatile Domain Adaptation", arXiv:1912.03699, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.training.adaptation.information_maximization import certainty_weights


def class_confusion(logits: Tensor, temperature: float) -> Tensor:
    """Return the confusion between different classes over a batch, in [0, 1].

    Probabilities are softened by the temperature. Examples are weighed by 1 + exp(-entropy), scaled to a mean of one
    and without gradient: who is nearly certain counts up to twice as much. The matrix of what is confused with what is
    then normalised class by class; being symmetric, it may be by row or by column.

    Args:
        logits: Of unlabelled examples (B, C), in single or double precision.
        temperature: T.
    """
    p = (logits / temperature).softmax(1)
    with torch.no_grad():
        weights = certainty_weights(p)
        weights /= weights.mean()
    with torch.autocast(logits.device.type, enabled=False):
        confused = (p * weights[:, None]).T @ p
    return 1 - (confused.diagonal() / confused.sum(1).clamp_min(torch.finfo(p.dtype).tiny)).mean()
