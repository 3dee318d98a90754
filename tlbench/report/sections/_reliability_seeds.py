"""How far seeds lie apart: every cell's distance from the mean of its setting."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.labels import row_texts

CAPTION = "Test score of every cell minus the mean of its setting, in points. A wide row rests on luck."
COLUMNS = ("panel", "row", "dataset", "shots", "seed", "accuracy", "deviation")


def frame(cells: Iterable[ComparableCell], rows: Collection[tuple[str, str, str]]) -> pd.DataFrame:
    """Return one row a cell of a setting with two seeds or more.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        rows: Protocol, method and backbone of the rows to look at.
    """
    told = row_texts((method, backbone) for _, method, backbone in rows)
    found = pd.DataFrame(
        [
            (cell.protocol, told[cell.method, cell.backbone], cell.dataset, cell.shots, cell.seed, cell.accuracy, 0.0)
            for cell in cells
            if (cell.protocol, cell.method, cell.backbone) in rows
        ],
        columns=list(COLUMNS),
    )
    setting = found.groupby(["panel", "row", "dataset", "shots"])["accuracy"]
    found["deviation"] = 100 * (found["accuracy"] - setting.transform("mean"))
    return found[setting.transform("size") > 1]


def chart(data: pd.DataFrame) -> alt.VConcatChart:
    """Draw it: a strip of ticks a row, the widest first."""
    return look.stack(_strips, "panel", data)


def _strips(data: pd.DataFrame) -> look.Layer:
    widest = data.groupby("row")["deviation"].std().sort_values(ascending=False).index.tolist()
    ticks = (
        alt.Chart(data)
        .mark_tick(thickness=1.5, size=14, opacity=0.6)
        .encode(
            x=alt.X("deviation:Q", title="points from the mean of the setting"),
            y=alt.Y("row:N", title=None, sort=widest),
            tooltip=["row:N", "dataset:N", "shots:N", "seed:N", alt.Tooltip("accuracy:Q", format=".1%")],
        )
    )
    return alt.layer(ticks, data=data).properties(width=420, height=alt.Step(20))
