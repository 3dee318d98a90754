"""Who beats whom: the paired difference of every two rows, and whether it can be told from nothing."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.labels import row_texts
from tlbench.report.rows.leaderboard import Board

CAPTION = (
    "Row minus column in points of test accuracy, the best mean first; columns are the rows by their number. Coloured "
    "where the simultaneous 95% interval of all pairs of the board leaves zero out; plain where the two cannot be told "
    "apart."
)
COLUMNS = ("panel", "row", "column", "difference", "low", "high", "verdict")
_MOST = 16  # rows of a readable matrix


def frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return one row a pair of leading rows, both ways round; ``column`` is the place of the other row."""
    rows = []
    for board in boards:
        if board.comparison is None:
            continue
        names = board.comparison.names[:_MOST]
        told = row_texts(names)
        for place, ours in enumerate(names, start=1):
            for column, theirs in enumerate(names, start=1):
                pair = board.comparison.pairs.get((ours, theirs))
                if pair is not None:
                    gap, label = pair.contrast.estimate, f"{place}. {told[ours]}"
                    rows.append((board.title, label, str(column), 100 * gap.mean, gap.low, gap.high, pair.verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def chart(data: pd.DataFrame) -> alt.VConcatChart:
    """Draw it, a matrix a board."""
    return look.stack(_matrix, "panel", data)


def _matrix(data: pd.DataFrame) -> look.Layer:
    order = list(dict.fromkeys(data["row"]))
    places = sorted(set(data["column"]), key=int)
    base = alt.Chart(data).encode(
        x=alt.X("column:N", title=None, sort=places, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("row:N", title=None, sort=order),
    )
    tiles = base.mark_rect().encode(
        color=alt.Color(
            "verdict:Q", legend=None, scale=alt.Scale(domain=[-1, 0, 1], range="diverging", interpolate="rgb")
        ),
        tooltip=[
            "row:N",
            "column:N",
            alt.Tooltip("difference:Q", format="+.1f"),
            alt.Tooltip("low:Q", format="+.1%"),
            alt.Tooltip("high:Q", format="+.1%"),
        ],
    )
    numbers = base.mark_text(fontSize=11).encode(text=alt.Text("difference:Q", format="+.1f"))
    return alt.layer(tiles, numbers, data=data).properties(width=alt.Step(46), height=alt.Step(24))
