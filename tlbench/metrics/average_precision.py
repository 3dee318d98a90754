"""Average precision of each class against all others: precision at each of its examples, mean over the present classes.

An example's score is its probability of the class; precision at it is that of all examples that score no less.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

LABEL = "average precision"


def value(logits: Tensor, labels: Tensor) -> float:
    """Return the mean average precision of logits (n, classes) for labels (n,)."""
    probabilities, classes = logits.double().softmax(1), labels.unique().tolist()
    each = [binary_average_precision(probabilities[:, c], (labels == c).long(), validate_args=False) for c in classes]
    return torch.stack(each).double().mean().item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,): as one that precision is averaged over, and as one that changes it."""
    probabilities = logits.double().softmax(1)
    return torch.stack([_of_class(probabilities[:, c], labels == c) for c in labels.unique().tolist()]).mean(0)


def _of_class(scores: Tensor, positive: Tensor) -> Tensor:
    n, ordered = len(scores), scores.sort(descending=True)
    hits = positive[ordered.indices].double()
    # Equal scores have one threshold: counts are those at the end of each run of equal values.
    _, lengths = ordered.values.unique_consecutive(return_counts=True)
    ends = (lengths.cumsum(0) - 1).repeat_interleave(lengths)
    reach = (ends + 1).double() / n
    precision = hits.cumsum(0)[ends] / (ends + 1)
    share = hits.mean()
    average = (hits * precision).sum() / hits.sum()
    # An example changes precision at the positives that score no more than it does.
    starts = ends - lengths.repeat_interleave(lengths) + 1
    gain = _sum_from(hits / reach, starts) / n / share
    loss = _sum_from(hits * precision / reach, starts) / n / share
    own = hits * (precision - average) / share
    contribution = own + hits * gain - loss
    return torch.empty_like(contribution).scatter_(0, ordered.indices, contribution)


def _sum_from(values: Tensor, starts: Tensor) -> Tensor:
    """Return for each position the sum of the values from its start to the end."""
    return values.flip(0).cumsum(0).flip(0)[starts]
