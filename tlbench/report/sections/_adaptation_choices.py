"""What each validator would have chosen, beside the oracle that reads the test: setting by setting, and over all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from tlbench.report.comparable_cells import ComparableCell, by_shots
from tlbench.report.sections._adaptation_marks import optimised

ORACLE = "oracle"


@dataclass(frozen=True)
class ValidatorRow:
    """A setting: mean test accuracies over its seeds, as fractions of 1.

    Attributes:
        seeds: Number of cells.
        ranking: The validator that gives the result, and is ranked.
        accuracy: Mean accuracy of the models that each validator chose, by name.
        oracle: Mean accuracy of the models that are best on the test.
        is_bound: Whether the method saw labels that all others are denied.
        optimised: Validators that the method's training maximises.
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
    optimised: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OracleGap:
    """How far the models that a validator chose stay below the oracle's, as fractions of 1.

    Attributes:
        mean: Over settings of equal weight.
        largest: In the setting where it is largest.
        settings: Number of settings.
        is_ranking: Whether the validator gives the result in all of them.
    """

    validator: str
    mean: float
    largest: float
    settings: int
    is_ranking: bool


@dataclass(frozen=True)
class ValidatorChoices:
    """What validators chose.

    Attributes:
        validators: Their names, in the order of the columns.
        rows: Settings, those of upper bounds apart in :attr:`bounds`.
        gaps: One a validator, the smallest first; upper bounds do not count.
    """

    validators: tuple[str, ...] = ()
    rows: tuple[ValidatorRow, ...] = ()
    bounds: tuple[ValidatorRow, ...] = ()
    gaps: tuple[OracleGap, ...] = ()


def validator_choices(cells: Iterable[ComparableCell]) -> ValidatorChoices:
    """Return what validators chose; cells of protocols without validators are passed over.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
    """
    groups: dict[tuple[str, ...], list[ComparableCell]] = {}
    for cell in cells:
        if ORACLE in cell.choices:
            groups.setdefault((cell.protocol, cell.dataset, cell.shots, cell.backbone, cell.method), []).append(cell)
    rows = sorted(map(_row, groups.values()), key=_order)
    validators = tuple(dict.fromkeys(name for row in rows for name in row.accuracy))
    competing = tuple(row for row in rows if not row.is_bound)
    gaps = [_gap(name, [row for row in competing if name in row.accuracy]) for name in validators if competing]
    return ValidatorChoices(
        validators=validators,
        rows=competing,
        bounds=tuple(row for row in rows if row.is_bound),
        gaps=tuple(sorted(gaps, key=lambda gap: (gap.mean, gap.validator))),
    )


def _row(group: list[ComparableCell]) -> ValidatorRow:
    first = group[0]
    names = [name for name in first.choices if all(name in cell.choices for cell in group)]
    means = {name: fmean(cell.choices[name] for cell in group) for name in names}
    return ValidatorRow(
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
        optimised=optimised(first.method_name),
    )


def _order(row: ValidatorRow) -> tuple[str, str, float, float, str, str]:
    return row.protocol, row.dataset, by_shots(row.shots), -row.accuracy.get(row.ranking, 0.0), row.method, row.backbone


def _gap(name: str, rows: list[ValidatorRow]) -> OracleGap:
    gaps = [row.oracle - row.accuracy[name] for row in rows]
    return OracleGap(name, fmean(gaps), max(gaps), len(rows), all(row.ranking == name for row in rows))
