"""The adaptation section: what each validator would have chosen, beside the oracle that reads the test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from tlbench.report.comparable_cells import Measured, by_shots

ORACLE = "oracle"


@dataclass(frozen=True)
class ChoiceRow:
    """A setting: mean test accuracies over its seeds, as fractions of 1.

    Attributes:
        seeds: Number of cells.
        ranking: The validator that gives the result, and is ranked.
        accuracy: Mean accuracy of the models that each validator chose, by name.
        oracle: Mean accuracy of the models that are best on the test.
        is_bound: Whether the method saw labels that all others are denied.
    """

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    seeds: int
    ranking: str
    accuracy: Mapping[str, float]
    oracle: float
    is_bound: bool


@dataclass(frozen=True)
class Fall:
    """How far a validator falls from the oracle, as fractions of 1.

    Attributes:
        mean: Over settings of equal weight.
        most: In the setting where it falls farthest.
        ranking: Whether it gives the result in all of them.
    """

    validator: str
    mean: float
    most: float
    settings: int
    ranking: bool


@dataclass(frozen=True)
class Choices:
    """What validators chose.

    Attributes:
        validators: Their names, in the order of the columns.
        rows: Settings, those of upper bounds apart in :attr:`bounds`.
        falls: One a validator, the one that falls least first; upper bounds do not count.
    """

    validators: tuple[str, ...] = ()
    rows: tuple[ChoiceRow, ...] = ()
    bounds: tuple[ChoiceRow, ...] = ()
    falls: tuple[Fall, ...] = ()


def choices(cells: Iterable[Measured]) -> Choices:
    """Make the section's tables; cells of protocols without validators are passed over.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.settle`.
    """
    groups: dict[tuple[str, ...], list[Measured]] = {}
    for cell in cells:
        if ORACLE in cell.choices:
            groups.setdefault((cell.protocol, cell.dataset, cell.shots, cell.backbone, cell.method), []).append(cell)
    rows = sorted(map(_row, groups.values()), key=_order)
    validators = tuple(dict.fromkeys(name for row in rows for name in row.accuracy))
    competing = tuple(row for row in rows if not row.is_bound)
    falls = [_fall(name, [row for row in competing if name in row.accuracy]) for name in validators if competing]
    return Choices(
        validators=validators,
        rows=competing,
        bounds=tuple(row for row in rows if row.is_bound),
        falls=tuple(sorted(falls, key=lambda fall: (fall.mean, fall.validator))),
    )


def _row(group: list[Measured]) -> ChoiceRow:
    first = group[0]
    names = [name for name in first.choices if all(name in cell.choices for cell in group)]
    means = {name: fmean(cell.choices[name] for cell in group) for name in names}
    return ChoiceRow(
        protocol=first.protocol,
        method=first.method,
        backbone=first.backbone,
        dataset=first.dataset,
        shots=first.shots,
        seeds=len(group),
        ranking=first.validator,
        accuracy={name: mean for name, mean in means.items() if name != ORACLE},
        oracle=means[ORACLE],
        is_bound=first.oracle,
    )


def _order(row: ChoiceRow) -> tuple[str, str, float, float, str, str]:
    return row.protocol, row.dataset, by_shots(row.shots), -row.accuracy.get(row.ranking, 0.0), row.method, row.backbone


def _fall(name: str, rows: list[ChoiceRow]) -> Fall:
    lost = [row.oracle - row.accuracy[name] for row in rows]
    return Fall(name, fmean(lost), max(lost), len(rows), all(row.ranking == name for row in rows))
