"""Share of examples whose most likely class is the right one."""

from __future__ import annotations

from torch import Tensor

LABEL = "accuracy"


def value(logits: Tensor, labels: Tensor) -> float:
    """Return the accuracy of logits (n, classes) for labels (n,)."""
    return _right(logits, labels).mean().item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,): whether it is right, less the accuracy."""
    right = _right(logits, labels)
    return right - right.mean()


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(1) == labels).double()
