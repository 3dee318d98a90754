"""Mean negative log-likelihood of the right class, in nats; smaller is better."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

LABEL = "log loss"
UNIT = "nats"
LARGER_IS_BETTER = False


def value(logits: Tensor, labels: Tensor) -> float:
    """Return the log loss of logits (n, classes) for labels (n,)."""
    return cross_entropy(logits.double(), labels).item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,): its own loss, less the mean."""
    losses = cross_entropy(logits.double(), labels, reduction="none")
    return losses - losses.mean()
