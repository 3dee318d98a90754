"""Validators: scores by which a checkpoint or a configuration of domain adaptation is selected without target labels.

A validator maps the logits of one candidate model on labelled held-out source examples and on unlabelled target
examples to a score; larger is better. It does not need the model itself, so that stored logits suffice.

Validators of one kind (:data:`KINDS`) look at the same thing, and tend to be wrong together. A method whose training
maximises a validator is no longer measured by it, which its file declares (``OPTIMISES``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, log_softmax, softmax

from tlbench.stats.clustering import adjusted_mutual_information, k_means

Array = NDArray[np.floating[Any]]
_TEMPERATURE = 0.05  # of the similarities of neighbours
_EXAMPLES, _BLOCK = 4096, 512  # most target examples that are held against each other; rows that are held at a time


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


def source_and_information(answers: ValidatorInputs) -> float:
    """Return :func:`information` as a share of its maximum, log(classes), plus :func:`source_accuracy`.

    A model that becomes certain of its target predictions at the expense of the source has no advantage by it. A sum of
    both is among the validators of Musgrave, Belongie and Lim 2021, arXiv:2111.15672.
    """
    return information(answers) / float(np.log(answers.target.shape[1])) + source_accuracy(answers)


def clusters(answers: ValidatorInputs) -> float:
    """Return the adjusted mutual information of predicted classes and clusters of the target logits, at most 1.

    Clusters are found by k-means, as many as there are classes. It is large where each class is predicted for a cluster
    of its own, and 0 where there is but one prediction; unlike measures of certainty it is the same for all multiples
    of the logits. Of more than 4,096 examples as many at equal distances are used. Musgrave, Belongie and Lim 2022,
    "Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised Domain Adaptation", arXiv:2208.07360, of
    features; here of logits.
    """
    logits = _some(answers.target)
    logits -= logits.mean(1, keepdims=True)
    return adjusted_mutual_information(logits.argmax(1), k_means(logits, logits.shape[1]))


def density(answers: ValidatorInputs) -> float:
    """Return the soft neighbourhood density of the target predictions, in nats: the mean entropy of neighbours.

    Each example's similarities to all others, cosines of class probabilities over a temperature of 0.05, become
    probabilities by a softmax; their entropy is large where many others are about equally close, as in a tight cluster.
    At most log(m - 1), which also a model has that predicts one class for all, or nothing with certainty: with few
    classes it tends to be largest for the worst models. Of more than 4,096 examples as many at
    equal distances are used. Saito et al. 2021, "Tune it the Right Way: Unsupervised Validation of Domain Adaptation
    via Soft Neighborhood Density", arXiv:2108.10860, section 3.
    """
    p = softmax(_some(answers.target), 1)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    entropies = []
    for start in range(0, len(p), _BLOCK):
        similarities = p[start : start + _BLOCK] @ p.T / _TEMPERATURE
        own = np.arange(len(similarities))
        similarities[own, start + own] = -np.inf
        entropies.append(entr(softmax(similarities, 1)).sum(1))
    return float(np.concatenate(entropies).mean())


def last(answers: ValidatorInputs) -> float:
    """Return the number of training steps, which selects the model that was trained longest."""
    return float(answers.step)


VALIDATORS: Mapping[str, Callable[[ValidatorInputs], float]] = MappingProxyType(
    {
        "source_accuracy": source_accuracy,
        "entropy": entropy,
        "information": information,
        "nuclear_norm": nuclear_norm,
        "source_and_information": source_and_information,
        "clusters": clusters,
        "density": density,
        "last": last,
    }
)
"""All validators by name."""
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "source_accuracy": "labels of the source",
        "entropy": "certainty",
        "information": "certainty",
        "nuclear_norm": "certainty",
        "source_and_information": "certainty and labels of the source",
        "clusters": "clusters",
        "density": "neighbourhoods",
        "last": "nothing",
    }
)
"""What each validator looks at."""
_SECOND = ("clusters", "information")


def counterpart(validator: str) -> str:
    """Return the validator of another kind under which a ranking is shown a second time."""
    return next(name for name in _SECOND if KINDS[name] != KINDS.get(validator))


def _some(logits: Array) -> NDArray[np.float64]:
    """Return logits in float64; of many examples as many at equal distances as are looked at."""
    if len(logits) > _EXAMPLES:
        logits = logits[np.linspace(0, len(logits) - 1, _EXAMPLES).round().astype(int)]
    return logits.astype(np.float64)


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
