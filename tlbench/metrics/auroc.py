"""Area under the ROC curve of each class against all others, mean over the classes that have both.

An example's score is its probability of the class. Equal scores count one half (J. A. Hanley, B. J. McNeil 1982,
Radiology 143:29).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from tlbench.core.errors import UserError

LABEL = "AUROC"


def value(logits: Tensor, labels: Tensor) -> float:
    """Return the mean area of logits (n, classes) for labels (n,).

    Raises:
        UserError: No class has an example and a counter-example.
    """
    probabilities = logits.double().softmax(1)
    areas = [binary_auroc(probabilities[:, c], (labels == c).long(), validate_args=False) for c in _classes(labels)]
    return torch.stack(areas).double().mean().item()


def influence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return what each example contributes (n,): its placement (E. R. DeLong et al. 1988, Biometrics 44:837)."""
    probabilities = logits.double().softmax(1)
    return torch.stack([_placements(probabilities[:, c], labels == c) for c in _classes(labels)]).mean(0)


def _classes(labels: Tensor) -> list[int]:
    """Return the classes that have examples and counter-examples."""
    found: list[int] = labels.unique().tolist()
    if len(found) < 2:
        raise UserError("AUROC needs test examples of two classes or more")
    return found


def _placements(scores: Tensor, positive: Tensor) -> Tensor:
    own, others = (scores[chosen].sort().values for chosen in (positive, ~positive))
    below = _share_below(scores, others)
    above = 1 - _share_below(scores, own)
    area, share = below[positive].mean(), positive.double().mean()
    return torch.where(positive, (below - area) / share, (above - area) / (1 - share))


def _share_below(scores: Tensor, ordered: Tensor) -> Tensor:
    """Return the share of ascending values that are below each score, equal ones counting one half."""
    scores = scores.contiguous()
    less, not_more = (torch.searchsorted(ordered, scores, right=right) for right in (False, True))
    return (less + not_more).double() / (2 * len(ordered))
