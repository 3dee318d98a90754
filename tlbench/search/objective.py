"""The objective of a search: the value of a trial on validation, which trial is the best, and whether that is enough.

The best of many trials is partly lucky, and with few validation examples mostly so. Therefore the default configuration
is kept unless the best trial beats it by one standard error of their paired difference on the same validation examples:
the rule by which Breiman, Friedman, Olshen and Stone choose a tree (1984, Classification and Regression Trees, section
3.4.3), here with the default in the place of the simplest tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlbench.core.record import STOPPED, Record, unpack_bits, unpack_scores
from tlbench.plugins.metrics import METRIC, USUAL, metric_declaration

VALUE_CURVE = "search/value"
"""Name of the curve of a trial's best value at each checkpoint of its scheduler, by ninths of the training."""
WORST = -1e9
"""Stands for the value of a trial that has none, where a number is needed."""
_TIE = 1e-6  # weight of a nat of the loss against the score: it decides between equal scores only
_CLOSE = 0.01  # of accuracy: trials within it compete by cost


class Criterion(NamedTuple):
    """The score on validation that decides between trials.

    Attributes:
        name: ``accuracy``, the metric that the suite chose, or the validator of an adaptation.
        sign: What it is multiplied by, so that larger is better: 1 or -1.
    """

    name: str
    sign: int = 1


def criterion_of(options: Mapping[str, Any]) -> Criterion:
    """Return what decides between trials under a protocol's options."""
    if "validator" in options:
        return Criterion(str(options["validator"]))
    name = str(options.get(METRIC, USUAL))
    return Criterion(name, metric_declaration(name).sign)


def validation_value(validation: Mapping[str, float], criterion: Criterion) -> float | None:
    """Return the value of validation scores, larger is better; None where there are none.

    Of equal scores the smaller loss is better: with few validation examples, equal ones are frequent.

    Args:
        validation: Scores by name.
        criterion: The one that decides.
    """
    value = criterion.sign * validation.get(criterion.name, math.nan)
    if not math.isfinite(value):
        return None
    nll = validation.get("nll", 0.0)
    return value - _TIE * min(max(nll, 0.0) if math.isfinite(nll) else math.inf, 1 / _TIE / 1e4)


def value_of(record: Record) -> float | None:
    """Return the value of a trial on validation; None where it has none."""
    if record.outcome is None:
        return None
    return validation_value(record.outcome.validation, criterion_of(record.cell.options))


def is_complete(record: Record) -> bool:
    """Return whether a trial was trained to its end and has a value."""
    return record.status == "done" and not is_stopped(record) and value_of(record) is not None


def is_stopped(record: Record) -> bool:
    """Return whether the scheduler ended a trial early."""
    return record.outcome is not None and STOPPED in record.outcome.selected


def price_of(record: Record) -> float:
    """Return what a trial is billed in device-seconds: the same whether or not features were there to be read.

    Of a record made before bills were kept it is the seconds of the training.
    """
    billed = record.cost.device_seconds
    return record.cost.train_seconds if billed is None else billed


def beats_by_standard_error(record: Record, default: Record) -> bool | None:
    """Return whether a trial beats another by more than one standard error of their paired difference.

    Of groups k = 1..n with d_k more right answers than the other (each answer alone, or the queries of an episode), the
    mean exceeds its standard error, with n - 1 in the variance, if and only if the sum of d is positive and its square
    exceeds the sum of squares: (sum d)^2 > sum d^2. For answers that are alone, with b that only this trial and c that
    only the other gets right, this is (b - c)^2 > b + c, so McNemar's statistic above 1. Whole numbers decide, so that
    no rounding does. Episodes share classes, which the rule does not count.

    Args:
        record: A trial that has a value.
        default: Another.

    Returns:
        None where the two have no answers to the same examples, as under the validators of an adaptation.
    """
    ours, theirs = (_example_scores(each) for each in (record, default))
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return None
    more = (ours - theirs).sum(1)
    return bool(more.sum() > 0 and more.sum() ** 2 > (more**2).sum())


def _example_scores(record: Record) -> NDArray[np.int64] | NDArray[np.float64] | None:
    """Return the score of each answer on validation by group (groups, answers); None without answers.

    Where accuracy decides, whether it was right, 0 or 1.
    """
    answers = None if record.outcome is None else record.outcome.answers
    if answers is None:
        return None
    if answers.scores:
        scores = np.frombuffer(unpack_scores(answers.scores, answers.count), "<f4")
        return scores.astype(np.float64).reshape(-1, answers.group)
    packed = np.frombuffer(unpack_bits(answers.correct, answers.count), np.uint8)
    return np.unpackbits(packed, count=answers.count).astype(np.int64).reshape(-1, answers.group)


def best_record(records: Iterable[Record]) -> Record | None:
    """Return the trial with the best value, of equal ones the first; None where none was trained to its end.

    Args:
        records: Trials of one search, in order of their numbers.
    """
    known = [record for record in records if is_complete(record)]
    return max(known, key=_value) if known else None


def cheapest_record(records: Iterable[Record], of: Record, price: Callable[[Record], float]) -> Record:
    """Return the cheapest of the trials whose value is at most a point of accuracy below that of a trial.

    Args:
        records: Trials of one search, in order of their numbers.
        of: One of them that has a value.
        price: Returns what a trial is billed.
    """
    close = [record for record in records if is_complete(record) and _value(record) >= _value(of) - _CLOSE]
    return min(close, key=price)


def _value(record: Record) -> float:
    value = value_of(record)
    return -math.inf if value is None else value
