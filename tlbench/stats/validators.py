"""Validators: scores by which a checkpoint of domain adaptation is selected without target labels.

A validator maps the logits of one candidate model on labelled held-out source examples and on unlabelled target
examples to a score; larger is better. It does not need the model itself, so that stored logits suffice.
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
class ValidatorInputs:
    """The outputs of one candidate model.

    Attributes:
        step: Number of training steps taken.
        source: Logits of held-out source examples (n, classes).
        labels: Their labels (n,).
        target: Logits of unlabelled target examples (m, classes).
    """

    step: int
    source: Array
    labels: NDArray[np.int64]
    target: Array

    @property
    def finite(self) -> bool:
        """Whether all logits are finite."""
        return bool(np.isfinite(self.source).all() and np.isfinite(self.target).all())


def source_accuracy(answers: ValidatorInputs) -> float:
    """Return the accuracy on held-out source examples."""
    return float((answers.source.argmax(1) == answers.labels).mean())


def entropy(answers: ValidatorInputs) -> float:
    """Return minus the mean entropy of the target predictions, in nats: the model's mean confidence.

    A model that predicts one class for all examples with certainty has the largest value.
    """
    logs = log_softmax(answers.target.astype(np.float64), 1)
    return float((np.exp(logs) * logs).sum(1).mean())


def information(answers: ValidatorInputs) -> float:
    """Return :func:`entropy` plus the entropy of the mean target prediction, in nats: confidence and class balance.

    It is the mutual information of example and predicted class: 0 where all predictions are equal, log(classes) at
    most. Bridle, Heading and MacKay 1991, "Unsupervised Classifiers, Mutual Information and 'Phantom Targets'"; as a
    validator Musgrave, Belongie and Lim 2021, arXiv:2111.15672.
    """
    mean = softmax(answers.target.astype(np.float64), 1).mean(0)
    return entropy(answers) + float(entr(mean).sum())


def nuclear_norm(answers: ValidatorInputs) -> float:
    """Return the nuclear norm of the target predictions (m, classes), divided by m.

    It is large where predictions are confident and diverse: by Cauchy's inequality at most sqrt(rank / m), and
    sqrt(classes / m) for one-hot predictions balanced over the classes. Cui et al. 2020, arXiv:2003.12237.
    """
    predictions = softmax(answers.target.astype(np.float64), 1)
    return float(np.linalg.svd(predictions, compute_uv=False).sum() / len(predictions))


def last(answers: ValidatorInputs) -> float:
    """Return the number of training steps, which selects the model that was trained longest."""
    return float(answers.step)


VALIDATORS: Mapping[str, Callable[[ValidatorInputs], float]] = MappingProxyType(
    {
        "source_accuracy": source_accuracy,
        "entropy": entropy,
        "information": information,
        "nuclear_norm": nuclear_norm,
        "last": last,
    }
)
"""All validators by name."""


def validator_scores(candidates: Sequence[ValidatorInputs]) -> dict[str, list[float]]:
    """Return the scores of the candidates under each validator, by the validator's name.

    A candidate whose logits are not all finite has the score minus infinity, except under ``last``, which does not
    read logits.
    """
    return {
        name: [validate(each) if each.finite or validate is last else -np.inf for each in candidates]
        for name, validate in VALIDATORS.items()
    }


def best_candidate(values: Sequence[float]) -> int:
    """Return the position of the largest value; of equal values the last.

    The adaptation losses are ramped up over the course of training, so of two models with equal scores the later one
    is adapted further.
    """
    return len(values) - 1 - int(np.argmax(np.asarray(values)[::-1]))
