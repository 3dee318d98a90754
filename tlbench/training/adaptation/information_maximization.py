"""Information maximisation: losses that make unlabelled predictions certain and balanced over the classes."""

from __future__ import annotations

import torch
from torch import Tensor


def information_loss(logits: Tensor) -> Tensor:
    """Return the mean entropy of the predictions minus the entropy of the mean prediction, in nats.

    Liang, Hu and Feng 2020, "Do We Really Need to Access the Source Data?", arXiv:2002.08546, section 3.2.
    It is minus the mutual information of example and class: at least -log(C), 0 where all predictions are equal.

    Args:
        logits: Logits of unlabelled examples (B, C), in float32 or float64.
    """
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    mean = p.mean(0)
    log_mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
    loss: Tensor = -(p * log_p).sum(1).mean() + (mean * log_mean).sum()
    return loss


def certainty_weights(p: Tensor) -> Tensor:
    """Return the weights 1 + exp(-entropy) (B,) of class probabilities (B, C), larger for more certain predictions.

    2 for a one-hot and 1 + 1 / C for a uniform prediction. Long et al. 2018, arXiv:1705.10667, section 3.3.
    """
    weights: Tensor = 1 + (-torch.special.entr(p).sum(1)).exp()
    return weights
