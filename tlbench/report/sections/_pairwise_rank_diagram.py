"""Critical-difference diagram: mean ranks over many datasets, and bars over what cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import numpy as np
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.labels import row_texts
from tlbench.report.rows.leaderboard import Board
from tlbench.stats.scores import common_cells, dataset_means
from tlbench.stats.wilcoxon import critical_difference_diagram, required_datasets

CAPTION = (
    "Mean rank over datasets, 1 is best. A bar joins rows that signed-rank tests with Holm's correction over all pairs "
    "do not tell apart."
)
COLUMNS = ("panel", "row", "rank", "under", "clique")
_MOST = 16


def frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return one row a row of a board with datasets enough, once for its ``rank`` and once for each bar it is under.

    ``clique`` counts the bars from 1, and ``under`` is the rank again; 0 stands for the rank itself.
    """
    rows: list[tuple[str, str, float | None, float | None, int]] = []
    for board in boards:
        told = row_texts((row.method, row.backbone) for row in board.ranked[:_MOST])
        leading = {told[row.method, row.backbone]: row.scores for row in board.ranked[:_MOST]}
        means = {name: dataset_means(scores) for name, scores in common_cells(leading).rows.items()}
        datasets = sorted(set.intersection(*map(set, means.values()))) if means else []
        table = np.array([[means[name][dataset] for name in means] for dataset in datasets])
        found = critical_difference_diagram(table, list(means)) if datasets else None
        if found is None:
            continue
        place = dict(zip(found.names, found.ranks, strict=True))
        rows += [(board.title, name, rank, None, 0) for name, rank in place.items()]
        rows += [
            (board.title, name, None, place[name], number)
            for number, clique in enumerate(found.cliques, start=1)
            for name in clique
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def absence(boards: Iterable[Board]) -> str:
    """Say why there is no diagram."""
    told = [
        f"{board.title} has {len(board.datasets)} and needs {required_datasets(min(len(board.ranked), _MOST))}"
        for board in boards
        if len(board.ranked) > 1
    ]
    why = "; ".join(told[:3]) or "no board has two complete rows"
    return f"No critical-difference diagram: with fewer datasets its tests cannot find anything. Datasets: {why}."


def chart(data: pd.DataFrame) -> alt.VConcatChart:
    """Draw it: names by rank, bars over them."""
    return look.stack(_diagram, "panel", data)


def _diagram(data: pd.DataFrame) -> look.Layer:
    order = data[data["clique"] == 0].sort_values("rank")["row"].tolist()
    scale = alt.Scale(zero=False, nice=True, padding=16)
    base = alt.Chart(data).encode(y=alt.Y("row:N", title=None, sort=order))
    points = base.mark_point(size=80).encode(
        x=alt.X("rank:Q", title="mean rank", scale=scale), tooltip=["row:N", alt.Tooltip("rank:Q", format=".2f")]
    )
    bars = base.mark_line(strokeWidth=4, opacity=0.6, invalid="filter").encode(
        x=alt.X("under:Q", title="mean rank", scale=scale), detail="clique:N"
    )
    return alt.layer(bars, points, data=data).properties(width=420, height=alt.Step(22))
