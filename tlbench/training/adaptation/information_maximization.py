"""How much predictions without labels say: certain of each example, and of all classes in equal parts over many."""

from __future__ import annotations

import torch
from torch import Tensor


def information_loss(logits: Tensor) -> Tensor:
    """Return the mean entropy of the predictions less the entropy of the mean prediction, in nats.

    Liang, Hu and Feng 2020, "Do We Really Need to Access the Source Data?", arXiv:2002.08546, section 3.2.
    It is minus the mutual information of example and class: -log(C) at best, 0 where all predictions are alike.

    Args:
        logits: Of unlabelled examples (B, C), in single or double precision.
    """
    logs = logits.log_softmax(1)
    p = logs.exp()
    mean = p.mean(0)
    return -(p * logs).sum(1).mean() + (mean * mean.clamp_min(torch.finfo(mean.dtype).tiny).log()).sum()


def certainty_weights(p: Tensor) -> Tensor:
    """Return 1 + exp(-entropy) of probabilities (B, C), as (B,): 2 for a certain example, 1 + 1 / C for a clueless one.

    Long et al. 2018, arXiv:1705.10667, section 3.3, weigh examples so, where the certain ones are to count more.
    """
    return 1 + (-torch.special.entr(p).sum(1)).exp()
