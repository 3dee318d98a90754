"""Scores on validation, by which every method chooses, and the candidates of a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench.training.metric import Metric

Choice = float | int | str
"""A value that is chosen on validation: C of a probe, an epoch, ..."""


class ValidationScores(NamedTuple):
    """Scores on validation examples.

    Attributes:
        accuracy: Fraction of correct predictions.
        nll: Mean negative log-likelihood, in nats.
        chosen: The metric that the suite chose, larger is better; None where that is accuracy.
    """

    accuracy: float
    nll: float
    chosen: float | None = None

    @property
    def order(self) -> tuple[float, float]:
        """The key by which trained networks are compared: larger is better; the metric first, then likelihood."""
        return self.accuracy if self.chosen is None else self.chosen, -self.nll


Key = Callable[[ValidationScores], tuple[float, float]]
"""By what scores are compared; larger is better."""


def by_metric(scores: ValidationScores) -> tuple[float, float]:
    """Return the key by which trained networks are compared: the metric first, then likelihood."""
    return scores.order


def by_likelihood(scores: ValidationScores) -> tuple[float, float]:
    """Return the key for choices on few examples, of which accuracy tells less: likelihood first, then accuracy.

    A metric that the suite chose decides here, too.
    """
    return (-scores.nll, scores.accuracy) if scores.chosen is None else scores.order


@dataclass(frozen=True)
class Candidates:
    """The candidates of a choice.

    Attributes:
        scores: Their scores on validation.
        key: By what they are compared; larger is better.
    """

    scores: Mapping[Choice, ValidationScores]
    key: Key

    @property
    def best(self) -> Choice:
        """The best one, the first of equals."""
        return max(self.scores, key=lambda value: self.key(self.scores[value]))


def score_logits(logits: Tensor, labels: Tensor, metric: Metric | None = None) -> ValidationScores:
    """Return the scores of logits (..., classes) for labels (...).

    Args:
        logits: Logits.
        labels: Labels.
        metric: The one that the suite chose; None where that is accuracy.
    """
    logits, labels = logits.flatten(0, -2), labels.flatten()
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    nll = cross_entropy(logits.double(), labels).item()
    chosen = None if metric is None else metric.declared.sign * metric.value(logits, labels)
    return ValidationScores(accuracy, nll, chosen)
