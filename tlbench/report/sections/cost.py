"""Cost: accuracy against trainable parameters, time, memory and stored bytes, with the front of each."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import Board
from tlbench.report.section import Content

TITLE = "Cost"
ORDER = 60
TABLES = ()
FIGURES = ("cost",)

_CAPTION = (
    "Test accuracy against cost (log axes, medians over cells; 0 is drawn at the left edge). On the line: the rows "
    "that no other row beats at the same cost or less."
)
_COLUMNS = ("panel", "axis", "method", "backbone", "mean", "cost", "place", "front")
_AXES = {
    "trainable": "trainable parameters",
    "seconds": "seconds a cell",
    "peak_memory": "peak memory in bytes",
    "stored_bytes": "stored bytes a task",
}
_TICKS = "datum.value < 1 ? format(datum.value, '~g') : format(datum.value, '.4~s')"


def build(report: Report) -> Content:
    """Return the figure of the leading rows; a note where no cost is known or rows are left out."""
    leading = report.leading
    figure = Figure("cost", _CAPTION, frame(leading.boards), chart)
    if not figure:
        return Content(notes=("No board has two complete rows whose cost is known.",))
    left_out = (
        f"Figures show the best methods and the baseline on the best backbones; {leading.left_out} rows of the "
        "leaderboard are left to the tables."
    )
    return Content(figures=(figure,), footnotes=(left_out,) if leading.left_out > 0 else ())


def frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return one row a kind of cost and complete row, of boards that have several.

    ``place`` is the cost, or a third of the smallest one that is not zero; ``front`` is the mean again where no other
    row is as good for the same or less.
    """
    boards = [board for board in boards if len(board.ranked) > 1]
    rows = []
    for board in boards:
        for key, axis in _AXES.items():
            told = [(row, cost) for row in board.ranked if (cost := getattr(row.cost, key)) is not None]
            least = min((cost for _, cost in told if cost > 0), default=1.0)
            panel = axis + ("\n" + board.title.replace(": ", "\n", 1) if len(boards) > 1 else "")
            rows += [
                (panel, axis, row.method, row.backbone, row.accuracy.mean, cost, cost or least / 3, None)
                for row, cost in told
            ]
    found = pd.DataFrame(rows, columns=list(_COLUMNS))
    found["front"] = _front(found)
    return found


def _front(data: pd.DataFrame) -> pd.Series:
    ordered = data.sort_values(["panel", "cost", "mean"], ascending=[True, True, False])
    before = ordered.groupby("panel")["mean"].transform(lambda means: means.cummax().shift())
    return ordered["mean"].where((ordered["mean"] > before) | before.isna()).reindex(data.index)


def chart(data: pd.DataFrame) -> alt.FacetChart:
    """Draw it, a panel a kind of cost."""
    x = alt.X(
        "place:Q",
        title=None,
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(labelExpr=_TICKS, tickCount=4, labelOverlap="greedy", labelSeparation=10, grid=False),
    )
    base = alt.Chart(data).encode(x=x)
    front = base.mark_line(interpolate="step-after", strokeDash=[4, 3], strokeWidth=1.2, invalid="filter").encode(
        y=alt.Y(**look.accuracy("front"))
    )
    points = base.mark_point(size=70, filled=True).encode(
        y=alt.Y(**look.accuracy()),
        color=alt.Color("method:N", title=None, sort=list(dict.fromkeys(data["method"]))),
        shape=alt.Shape("backbone:N", title=None),
        tooltip=["method:N", "backbone:N", alt.Tooltip("mean:Q", format=".1%"), alt.Tooltip("cost:Q", format=".3~s")],
    )
    layer = alt.layer(front, points, data=data).properties(width=200, height=160)
    return look.panels(layer, "panel", data, columns=4, own="xy")
