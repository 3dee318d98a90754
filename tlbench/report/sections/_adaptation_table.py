"""What validators chose, as a table, and how far each stays below the oracle."""

from __future__ import annotations

from tlbench.report import number_format as text
from tlbench.report.notes import UPPER_BOUNDS
from tlbench.report.sections._adaptation_choices import ValidatorChoices
from tlbench.report.table import Table, TablePart

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
                *(text.percent(row.accuracy.get(name)) for name in found.validators),
                text.percent(row.oracle),
                str(row.seeds),
            )
            for row in rows
        ]
        parts += [TablePart(title, head, body, (0, 2, 3, 4))] if body else []
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
            }
            for row in (*found.rows, *found.bounds)
        ],
        columns=("protocol", "dataset", "shots", "method", "backbone"),
        parts=parts,
    )
