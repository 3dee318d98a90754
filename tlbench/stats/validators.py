"""How good an adapted model seems without any label of the target: what a checkpoint is chosen by.

Each validator reads what a model answers on held-out source examples with labels and on target examples without, and
gives a number that is larger the better. None needs the model itself, so that all can be asked of stored answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, log_softmax, softmax

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Answers:
    """What one model answers.

    Attributes:
        step: Steps of training that it had.
        source: Logits of held-out source examples (n, classes).
        labels: Their labels (n,).
        target: Logits of target examples without labels (m, classes).
    """

    step: int
    source: Array
    labels: NDArray[np.int64]
    target: Array

    @property
    def finite(self) -> bool:
        """Whether all logits are."""
        return bool(np.isfinite(self.source).all() and np.isfinite(self.target).all())


def source_accuracy(answers: Answers) -> float:
    """Return the share of held-out source examples that the model gets right."""
    return float((answers.source.argmax(1) == answers.labels).mean())


def entropy(answers: Answers) -> float:
    """Return minus the mean entropy of the target predictions, in nats: how certain the model is of each example.

    A model that calls everything by one name, and is sure of it, is the best by this validator.
    """
    logs = log_softmax(answers.target.astype(np.float64), 1)
    return float((np.exp(logs) * logs).sum(1).mean())


def information(answers: Answers) -> float:
    """Return :func:`entropy` plus the entropy of the mean target prediction, in nats: certain, and of all classes.

    It is the mutual information of example and predicted class: 0 where all predictions are alike, log(classes) at
    most. Bridle, Heading and MacKay 1991, "Unsupervised Classifiers, Mutual Information and 'Phantom Targets'"; as a
    validator Musgrave, Belongie and Lim 2021, arXiv:2111.15672.
    """
    mean = softmax(answers.target.astype(np.float64), 1).mean(0)
    return entropy(answers) + float(entr(mean).sum())


def nuclear_norm(answers: Answers) -> float:
    """Return the nuclear norm of the target predictions (m, classes), divided by m.

    It is large where predictions are certain and of many classes: by Cauchy's inequality at most sqrt(rank / m), and
    sqrt(classes / m) for certain predictions of equally many of each class. Cui et al. 2020, arXiv:2003.12237.
    """
    predictions = softmax(answers.target.astype(np.float64), 1)
    return float(np.linalg.svd(predictions, compute_uv=False).sum() / len(predictions))


def last(answers: Answers) -> float:
    """Return the number of steps: the model that was trained longest."""
    return float(answers.step)


VALIDATORS: Mapping[str, Callable[[Answers], float]] = MappingProxyType(
    {
        "source_accuracy": source_accuracy,
        "entropy": entropy,
        "information": information,
        "nuclear_norm": nuclear_norm,
        "last": last,
    }
)
"""All validators by name."""


def judge(proposals: Sequence[Answers]) -> dict[str, list[float]]:
    """Return what each validator says of each proposal; minus infinity of one whose logits are not finite.

    Only ``last`` does not look at logits.
    """
    return {
        name: [validate(each) if each.finite or validate is last else -np.inf for each in proposals]
        for name, validate in VALIDATORS.items()
    }


def best(values: Sequence[float]) -> int:
    """Return the position of the largest value; of equal ones the last.

    The pull towards the target sets in over the course of training, so of two models that a validator cannot tell
    apart the later one is the more adapted.
    """
    return len(values) - 1 - int(np.argmax(np.asarray(values)[::-1]))
