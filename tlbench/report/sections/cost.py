"""Cost: accuracy against what a cell is billed, parameters, memory and stored bytes, with the front of each.

And in tables: what rows are billed, and the trainings that cells share.
"""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.rows.cost import Cost
from tlbench.report.rows.leaderboard import Board
from tlbench.report.search_cost import search_costs
from tlbench.report.section import Content
from tlbench.report.sections._cost_tables import costs_table, shared_table

TITLE = "Cost"
ORDER = 60
TABLES = ("costs", "shared")
FIGURES = ("cost",)

_CAPTION = (
    "Test score against cost (log axes, medians over cells; 0 is drawn at the left edge). On the line: the rows "
    "that no other row beats at the same cost or less."
)
_COLUMNS = ("panel", "axis", "method", "backbone", "mean", "cost", "place", "front")
_AXES = {
    "trainable": "trainable parameters",
    "CPU": "CPU-seconds a cell",
    "GPU": "GPU-seconds a cell",
    "seconds": "wall seconds a cell",
    "peak_memory": "peak memory in bytes",
    "stored_bytes": "stored bytes a task",
}
_TICKS = "datum.value < 1 ? format(datum.value, '~g') : format(datum.value, '.4~s')"


def build(report: Report) -> Content:
    """Return the figure of the leading rows and the tables of all; a note where no cost is known."""
    leading = report.leading
    figure = Figure("cost", _CAPTION, frame(leading.boards), chart)
    searches = search_costs(report.settings, report.results.trials)
    tables = (costs_table(report.boards, searches), shared_table(report.cells))
    if not figure:
        return Content(tables=tables, notes=("No board has two complete rows whose cost is known.",))
    left_out = (
        f"Figures show the best methods and the baseline on the best backbones; {leading.left_out} rows of the "
        "leaderboard are left to the tables."
    )
    footnotes = (left_out,) if leading.left_out > 0 else ()
    return Content(figures=(figure,), tables=tables, footnotes=footnotes)


def frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return one row a kind of cost and complete row, of boards that have several.

    Wall seconds stand only where no row of a board has a bill, as of results made before bills were kept. ``place`` is
    the cost, or a third of the smallest one that is not zero; ``front`` is the mean again where no other row is as good
    for the same or less.
    """
    boards = [board for board in boards if len(board.ranked) > 1]
    rows = []
    for board in boards:
        billed = any(row.cost.device_seconds is not None for row in board.ranked)
        for key, axis in _AXES.items():
            if key == "seconds" and billed:
                continue
            told = [(row, cost) for row in board.ranked if (cost := _value(row.cost, key)) is not None]
            least = min((cost for _, cost in told if cost > 0), default=1.0)
            panel = axis + ("\n" + board.title.replace(": ", "\n", 1) if len(boards) > 1 else "")
            rows += [
                (panel, axis, row.method, row.backbone, row.accuracy.mean, cost, cost or least / 3, None)
                for row, cost in told
            ]
    found = pd.DataFrame(rows, columns=list(_COLUMNS))
    found["front"] = _front(found)
    return found


def _value(cost: Cost, key: str) -> float | None:
    if key in ("CPU", "GPU"):
        return cost.device_seconds if cost.device == key else None
    value: float | None = getattr(cost, key)
    return value


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
