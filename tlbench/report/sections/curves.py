"""Learning curves: a panel a setting and curve, a line a seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell, by_shots
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.store.mlflow.record_artifact import Curve, RecordDetails

TITLE = "Learning curves"
ORDER = 90
TABLES = ()
FIGURES = ("curves",)

_CAPTION = "Each line is a seed. Training stops early where a method says so."
_COLUMNS = ("panel", "curve", "seed", "step", "value")
_FIRST = ("val_accuracy", "train_loss")
_POINTS = 60  # of a line; longer ones are thinned


def build(report: Report) -> Content:
    """Return the figure of the leading rows' curves, as far as their records were read."""
    data = frame(report.cells, report.results.details, report.leading.keys)
    return Content(figures=(Figure("curves", _CAPTION, data, chart),))


def frame(
    cells: Iterable[ComparableCell], details: Mapping[str, RecordDetails], rows: Collection[tuple[str, str, str]]
) -> pd.DataFrame:
    """Return one row a step of a curve, for at most :data:`~tlbench.report.chart_style.MOST_PANELS` panels.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
        details: What the records hold, by cell.
        rows: Protocol, method and backbone of the rows to look at.
    """
    chosen = sorted(
        (cell for cell in cells if (cell.protocol, cell.method, cell.backbone) in rows and cell.cell in details),
        key=lambda cell: (cell.protocol, cell.dataset, by_shots(cell.shots), cell.method, cell.backbone, cell.seed),
    )
    lines = {
        (f"{name} · {cell.dataset}, {text.shots(cell.shots)}\n{cell.method}\n{cell.backbone}", name, cell.seed): curve
        for cell in chosen
        for name, curve in _first(details[cell.cell].curves)
    }
    panels = list(dict.fromkeys(panel for panel, _, _ in lines))[: look.MOST_PANELS]
    found = [
        (panel, name, seed, step, value)
        for (panel, name, seed), curve in lines.items()
        if panel in panels
        for step, value in _thinned(curve)
    ]
    return pd.DataFrame(found, columns=list(_COLUMNS))


def _first(curves: Mapping[str, Curve]) -> list[tuple[str, Curve]]:
    """Return the curves that are looked at first; of a setting two, so that there is room for others."""
    known = {name: curve for name, curve in curves.items() if len(curve) > 1}
    return sorted(known.items(), key=lambda pair: _FIRST.index(pair[0]) if pair[0] in _FIRST else len(_FIRST))[:2]


def _thinned(curve: Curve) -> Iterable[tuple[int, float]]:
    """Keep the last point, and evenly many of the others."""
    stride = -(-len(curve) // _POINTS)
    return curve[::-1][::stride][::-1]


def chart(data: pd.DataFrame) -> alt.FacetChart:
    """Draw it; every panel has axes of its own."""
    lines = (
        alt.Chart(data)
        .mark_line(strokeWidth=1.4, opacity=0.85)
        .encode(
            x=alt.X("step:Q", title="epoch or step", axis=alt.Axis(tickCount=5, grid=False)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
            color=alt.Color("seed:N", legend=alt.Legend(title="seed")),
            tooltip=["seed:N", "step:Q", alt.Tooltip("value:Q", format=".4~g")],
        )
    )
    layer = alt.layer(lines, data=data).properties(width=look.PANEL, height=140)
    return look.panels(layer, "panel", data, own="xy")
