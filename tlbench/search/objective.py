"""What a trial is worth, and which of them wins. Imports no torch, no Ray."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from tlbench.core.record import STOPPED, Outcome, Record

RUNGS = "search/value"
"""Name of the curve of what a trial was worth at each share of its training (see :mod:`.worker`)."""
_TIE = 1e-6  # what a nat of the loss weighs against accuracy: it decides between equal ones only
_CLOSE = 0.01


def worth(validation: Mapping[str, float], key: str = "accuracy") -> float | None:
    """Return the value of validation scores, larger is better; None where there are none.

    Of equal accuracies the smaller loss is better, which few validation examples make frequent.

    Args:
        validation: Scores by name.
        key: Which of them decides: ``accuracy``, or the validator of an adaptation.
    """
    value = validation.get(key)
    if value is None or not math.isfinite(value):
        return None
    nll = validation.get("nll", 0.0)
    return value - _TIE * min(max(nll, 0.0) if math.isfinite(nll) else math.inf, 1 / _TIE / 1e4)


def worth_of(outcome: Outcome | None) -> float | None:
    """Return the value of what a trial found on validation; None where it found nothing."""
    if outcome is None:
        return None
    return worth(outcome.validation, str(outcome.selected.get("validator", "accuracy")))


def finished(record: Record) -> bool:
    """Say whether a trial was trained to its end and has a value."""
    return record.status == "done" and not stopped(record) and worth_of(record.outcome) is not None


def stopped(record: Record) -> bool:
    """Say whether the scheduler ended a trial early."""
    return record.outcome is not None and STOPPED in record.outcome.selected


def winner(
    records: Iterable[Record],
    objective: str,
    seconds: Callable[[Record], float] = lambda record: record.cost.train_seconds,
) -> Record | None:
    """Return the best trial, of equal ones the first; None where none was trained to its end.

    Args:
        records: Trials of one setting, in order of their numbers.
        objective: ``accuracy``; or ``accuracy_and_cost``, the quickest of those within a point of the best.
        seconds: What a trial's training took.
    """
    known = [
        (value, record) for record in records if finished(record) and (value := worth_of(record.outcome)) is not None
    ]
    if not known:
        return None
    top = max(value for value, _ in known)
    if objective == "accuracy":
        return next(record for value, record in known if value == top)
    close = [record for value, record in known if value >= top - _CLOSE]
    return min(close, key=seconds)
