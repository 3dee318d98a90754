"""The objective of a search: the value of a trial on validation, and which trial is the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from tlbench.core.record import STOPPED, Outcome, Record

VALUE_CURVE = "search/value"
"""Name of the curve of a trial's best value at each checkpoint of its scheduler, by ninths of the training."""
_TIE = 1e-6  # weight of a nat of the loss against accuracy: it decides between equal accuracies only
_CLOSE = 0.01  # of accuracy: trials within it compete by cost


def validation_value(validation: Mapping[str, float], key: str = "accuracy") -> float | None:
    """Return the value of validation scores, larger is better; None where there are none.

    Of equal accuracies the smaller loss is better: with few validation examples, equal ones are frequent.

    Args:
        validation: Scores by name.
        key: The score that decides: ``accuracy``, or the validator of an adaptation.
    """
    value = validation.get(key)
    if value is None or not math.isfinite(value):
        return None
    nll = validation.get("nll", 0.0)
    return value - _TIE * min(max(nll, 0.0) if math.isfinite(nll) else math.inf, 1 / _TIE / 1e4)


def value_of(outcome: Outcome | None) -> float | None:
    """Return the value of an outcome on validation; None where it has none."""
    if outcome is None:
        return None
    return validation_value(outcome.validation, str(outcome.selected.get("validator", "accuracy")))


def is_complete(record: Record) -> bool:
    """Return whether a trial was trained to its end and has a value."""
    return record.status == "done" and not is_stopped(record) and value_of(record.outcome) is not None


def is_stopped(record: Record) -> bool:
    """Return whether the scheduler ended a trial early."""
    return record.outcome is not None and STOPPED in record.outcome.selected


def price_of(record: Record) -> float:
    """Return what a trial is billed in device-seconds: the same whether or not features were there to be read.

    Of a record made before bills were kept it is the seconds of the training.
    """
    billed = record.cost.device_seconds
    return record.cost.train_seconds if billed is None else billed


def best_record(
    records: Iterable[Record],
    objective: str,
    price: Callable[[Record], float] = price_of,
) -> Record | None:
    """Return the best trial, of equal ones the first; None where none was trained to its end.

    Args:
        records: Trials of one setting, in order of their numbers.
        objective: ``accuracy``; or ``accuracy_and_cost``, the cheapest of those within a point of the best.
        price: Returns what a trial is billed.
    """
    known = [
        (value, record) for record in records if is_complete(record) and (value := value_of(record.outcome)) is not None
    ]
    if not known:
        return None
    top = max(value for value, _ in known)
    if objective == "accuracy":
        return next(record for value, record in known if value == top)
    close = [record for value, record in known if value >= top - _CLOSE]
    return min(close, key=price)
