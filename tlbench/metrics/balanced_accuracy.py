"""Mean over classes of the share of a class's examples that are right, so that rare classes count as much as others.

Classes without a test example are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import multiclass_recall

LABEL = "balanced accuracy"


def value(logits: Tensor, labels: Tensor) -> float:
    """Return the balanced accuracy of logits (n, classes) for labels (n,)."""
    classes = logits.shape[1]
    recalls = multiclass_recall(logits, labels, classes, average="none", validate_args=False).double()
    return recalls[labels.unique()].mean().item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,): its deviation within its class, over the class's share and K."""
    right = (logits.argmax(1) == labels).double()
    members = one_hot(labels, logits.shape[1]).double()
    share = members.mean(0)
    recall = (members * right[:, None]).mean(0) / share.clamp_min(torch.finfo(torch.double).tiny)
    return (right - recall[labels]) / share[labels] / (share > 0).sum()
