"""Mean over classes of F1, the harmonic mean of precision and recall.

Classes that are neither present nor predicted are left out.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import multiclass_f1_score

LABEL = "macro-F1"


def value(logits: Tensor, labels: Tensor) -> float:
    """Return macro-F1 of logits (n, classes) for labels (n,)."""
    score: Tensor = multiclass_f1_score(logits, labels, logits.shape[1], average="macro", validate_args=False)
    return score.item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,), by the delta method on F1 = 2 TP / (predicted + present)."""
    classes = logits.shape[1]
    present, predicted = (one_hot(y, classes).double() for y in (labels, logits.argmax(1)))
    either, both = present + predicted, present * predicted
    met = either.mean(0)
    met[met == 0] = float("nan")
    f1 = 2 * both.mean(0) / met
    return ((2 * both - f1 * either) / met).nanmean(1)
