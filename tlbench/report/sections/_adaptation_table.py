"""What validators chose, as tables: checkpoints, configurations, and the ranking under two of them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tlbench.report import number_format as text
from tlbench.report.notes import UPPER_BOUNDS
from tlbench.report.sections._adaptation_choices import ValidatorChoices, ValidatorRow
from tlbench.report.sections._adaptation_configurations import ConfigurationRow
from tlbench.report.sections._adaptation_marks import MARK, NOTE
from tlbench.report.sections._adaptation_rankings import TwoRankings
from tlbench.report.table import Table, TablePart

_SEARCHED = "Configurations of searches"
_LISTED = "Configurations that the suite lists"
_CONFIGURATIONS = (
    "Accuracy on the target, in percent, of the configuration that was chosen without a label of the target, of the "
    "best one, and of those that each validator would have chosen."
)
_ON_TRAINING = "On the target's training examples, since a trial does not read the test."
GAPS = (
    "Points of test accuracy between the model that a validator chose and the best one, over settings of equal weight."
)


def choices_table(found: ValidatorChoices) -> Table:
    """Return one row a setting with what chose the model, upper bounds last; and how far each validator falls."""
    head = ("dataset", "shots", "method", "backbone", "ranked by", *found.validators, "oracle", "seeds")
    parts = []
    for title, rows in (("Test accuracy by what chose the model", found.rows), (UPPER_BOUNDS, found.bounds)):
        body = [
            (
                row.dataset,
                row.shots,
                row.method,
                row.backbone,
                row.ranking,
                *(accuracy_text(row, name) for name in found.validators),
                text.percent(row.oracle),
                str(row.seeds),
            )
            for row in rows
        ]
        note = NOTE if any(row.optimised for row in rows) else ""
        parts += [TablePart(title, head, body, (0, 2, 3, 4), note)] if body else []
    gaps = [
        (
            gap.validator + (", ranked" if gap.is_ranking else ""),
            text.points(-gap.mean),
            text.points(-gap.largest),
            str(gap.settings),
        )
        for gap in found.gaps
    ]
    if gaps:
        head = ("validator", "to oracle", "at worst", "settings")
        parts.append(TablePart("How far each validator falls from the oracle", head, gaps, (0,), GAPS))
    return Table(
        name="adaptation",
        records=[
            {
                "protocol": row.protocol,
                "dataset": row.dataset,
                "shots": row.shots,
                "method": row.method,
                "backbone": row.backbone,
                "upper_bound": row.is_bound,
                "seeds": row.seeds,
                "ranked_by": row.ranking,
                **{f"by_{name}": row.accuracy.get(name) for name in found.validators},
                "oracle": row.oracle,
                "optimises": " ".join(sorted(row.optimised)),
            }
            for row in (*found.rows, *found.bounds)
        ],
        columns=("protocol", "dataset", "shots", "method", "backbone"),
        parts=parts,
    )


def accuracy_text(row: ValidatorRow, validator: str) -> str:
    """Return a row's accuracy by a validator, marked where the method's training maximises it: ``81.2†``."""
    return text.percent(row.accuracy.get(validator)) + MARK * (validator in row.optimised)


def rankings_table(found: Sequence[TwoRankings]) -> Table:
    """Return one row a row of a board that validators rank, and one part a board."""
    return Table(
        name="rankings",
        records=[
            {
                "protocol": each.key[0],
                "datasets": " ".join(each.key[1]),
                "method": row.method,
                "backbone": row.backbone,
                **{
                    f"{name}_{place}": value
                    for place, by, rank, accuracy in zip(
                        ("first", "second"), each.validators, row.ranks, row.accuracy, strict=True
                    )
                    for name, value in (("validator", by), ("rank", rank), ("accuracy", accuracy))
                },
                "optimises": " ".join(sorted(row.optimised)),
            }
            for each in found
            for row in each.rows
        ],
        columns=("protocol", "datasets", "method", "backbone"),
        parts=[_ranking_part(each) for each in found],
    )


def _ranking_part(found: TwoRankings) -> TablePart:
    first, second = (name.replace("_", " ") for name in found.validators)
    body = [
        (
            row.method,
            row.backbone,
            *(
                cell
                for name, rank, accuracy in zip(found.validators, row.ranks, row.accuracy, strict=True)
                for cell in (str(rank), text.percent(accuracy) + MARK * (name in row.optimised))
            ),
        )
        for row in found.rows
    ]
    note = found.sentence + (f" {NOTE}." if any(row.optimised for row in found.rows) else "")
    head = ("method", "backbone", "rank", f"% by {first}", "rank", f"% by {second}")
    return TablePart(f"Ranked twice: {found.title}", head, body, (0, 1), note)


def configurations_table(searched: Sequence[ConfigurationRow], listed: Sequence[ConfigurationRow]) -> Table:
    """Return one row for each method and setting of which several configurations were tried, and the mean gaps."""
    rows = (*searched, *listed)
    names = tuple(dict.fromkeys(name for row in rows for name in row.accuracy))
    parts = []
    for title, group, note in (
        (_SEARCHED, searched, f"{_CONFIGURATIONS} {_ON_TRAINING}"),
        (_LISTED, listed, _CONFIGURATIONS),
    ):
        parts += [_configurations_part(title, group, names, note), _gaps_part(group, names)] if group else []
    return Table(
        name="configurations",
        records=[
            {
                "protocol": row.protocol,
                "dataset": row.dataset,
                "shots": row.shots,
                "method": row.method,
                "backbone": row.backbone,
                "searches": row.searches,
                "configurations": row.configurations,
                "chosen_by": row.ranking,
                "chosen": row.chosen,
                **{f"by_{name}": row.accuracy.get(name) for name in names},
                "oracle": row.oracle,
            }
            for row in rows
        ],
        columns=("protocol", "dataset", "shots", "method", "backbone"),
        parts=parts,
    )


def _configurations_part(title: str, rows: Sequence[ConfigurationRow], names: Sequence[str], note: str) -> TablePart:
    head = ("dataset", "shots", "method", "backbone", "configurations", "chosen by", "chosen", "best", "to oracle",
            *(f"by {name}" for name in names))  # fmt: skip
    body = [
        (
            row.dataset,
            row.shots,
            row.method,
            row.backbone,
            str(row.configurations),
            row.ranking,
            text.percent(row.chosen),
            text.percent(row.oracle),
            text.points(row.chosen - row.oracle),
            *(text.percent(row.accuracy.get(name)) for name in names),
        )
        for row in rows
    ]
    return TablePart(title, head, body, (0, 2, 3, 5), note)


def _gaps_part(rows: Sequence[ConfigurationRow], names: Sequence[str]) -> TablePart:
    gaps = {name: [row.oracle - row.accuracy[name] for row in rows if name in row.accuracy] for name in names}
    body = [
        (name, text.points(-fmean(found)), text.points(-max(found)), str(len(found)))
        for name, found in sorted(gaps.items(), key=lambda item: fmean(item[1]) if item[1] else 1.0)
        if found
    ]
    return TablePart(
        "How far each validator's choice of a configuration falls from the oracle",
        ("validator", "to oracle", "at worst", "settings"),
        body,
        (0,),
    )
