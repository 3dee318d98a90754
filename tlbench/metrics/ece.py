"""Expected calibration error with 15 bins: the gap of confidence and accuracy; smaller is better.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599,
section 2. The estimate is biased upwards on small test sets, and intervals are those of this estimate.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

LABEL = "ECE"
LARGER_IS_BETTER = False
_BINS = 15


def value(logits: Tensor, labels: Tensor) -> float:
    """Return the calibration error of logits (n, classes) for labels (n,)."""
    error: Tensor = multiclass_calibration_error(logits.softmax(1), labels, logits.shape[1], _BINS, validate_args=False)
    return error.item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,): its gap, with the sign of its bin's, less the error."""
    confidence, answers = logits.softmax(1).max(1)
    gap = confidence.double() - (answers == labels).double()
    edges = torch.linspace(0, 1, _BINS + 1, dtype=confidence.dtype)
    bins = torch.bucketize(confidence, edges, right=True) - 1
    sums = torch.zeros(_BINS + 1, dtype=torch.double).index_add_(0, bins, gap)
    signed = sums.sign()[bins] * gap
    return signed - signed.mean()
