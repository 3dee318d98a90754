"""Backbones: do the lines of the methods cross, or does one method lead on all backbones?"""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import Board
from tlbench.report.section import Content
from tlbench.report.sections._backbones_orderings import orderings_table

TITLE = "Backbones"
ORDER = 50
TABLES = ("orderings",)
FIGURES = ("backbones",)

_CAPTION = (
    "Mean test score over the same datasets and shots, complete rows only. Lines that cross: the best method hangs "
    "on the backbone. Bars: 95% interval over seeds."
)
_COLUMNS = ("panel", "method", "backbone", "mean", "low", "high")


def build(report: Report) -> Content:
    """Return the figure of the leading rows, and the rank correlation of the methods' orders on any two backbones."""
    figure = Figure("backbones", _CAPTION, frame(report.leading.boards), chart)
    table = orderings_table(report.boards)
    notes = []
    if not figure:
        notes.append("No method is complete on several backbones.")
    elif not table:
        notes.append("Fewer than three methods are complete on the same two backbones: there is no order to compare.")
    return Content(figures=(figure,), tables=(table,), notes=tuple(notes))


def frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return one row a complete row of a board on which a method stands on two backbones or more."""
    found = pd.DataFrame(
        [
            (board.title, row.method, row.backbone, row.accuracy.mean, row.accuracy.low, row.accuracy.high)
            for board in boards
            for row in board.ranked
        ],
        columns=list(_COLUMNS),
    )
    return found[found.groupby(["panel", "method"])["backbone"].transform("nunique") > 1]


def chart(data: pd.DataFrame) -> alt.FacetChart:
    """Draw it, backbones by their mean."""
    order = data.groupby("backbone")["mean"].mean().sort_values().index.tolist()
    base = alt.Chart(data).encode(
        x=alt.X("backbone:N", title=None, sort=order, axis=alt.Axis(labelAngle=-20, labelLimit=210)),
        color=alt.Color("method:N", title=None, sort=list(dict.fromkeys(data["method"]))),
    )
    bars = base.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q")
    lines = base.mark_line(point=True).encode(
        y=alt.Y(**look.accuracy()), tooltip=["method:N", "backbone:N", alt.Tooltip("mean:Q", format=".1%")]
    )
    layer = alt.layer(bars, lines, data=data).properties(width=320, height=220)
    return look.panels(layer, "panel", data, columns=2, own="xy")
