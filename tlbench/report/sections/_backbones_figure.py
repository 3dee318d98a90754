"""Method by backbone: do the lines cross, or does one method lead on all of them?"""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.rows.leaderboard import Board

CAPTION = (
    "Mean test accuracy over the same datasets and shots, complete rows only. Lines that cross: the best method hangs "
    "on the backbone. Bars: 95% interval over seeds."
)
COLUMNS = ("panel", "method", "backbone", "mean", "low", "high")


def frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return one row a complete row of a board on which a method stands on two backbones or more."""
    found = pd.DataFrame(
        [
            (board.title, row.method, row.backbone, row.accuracy.mean, row.accuracy.low, row.accuracy.high)
            for board in boards
            for row in board.ranked
        ],
        columns=list(COLUMNS),
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
