"""Shots: accuracy against the number of shots, a panel a dataset and backbone, a line a method with its interval."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.rows.settings import SettingRow
from tlbench.report.section import Content

TITLE = "Shots"
ORDER = 40
TABLES = ()
FIGURES = ("shots",)

_CAPTION = "Test score against labelled examples a class (log axis). Bands: 95% interval over seeds."
_COLUMNS = ("panel", "method", "shots", "place", "mean", "low", "high", "seeds")


def build(report: Report) -> Content:
    """Return the figure of the leading rows; a note where no dataset was asked at several numbers of shots."""
    figure = Figure("shots", _CAPTION, frame(report.leading.settings), chart)
    return Content(figures=(figure,), notes=() if figure else ("No dataset was asked at several numbers of shots.",))


def frame(rows: Iterable[SettingRow]) -> pd.DataFrame:
    """Return one row a setting; ``place`` is where its shots stand on the axis.

    ``full`` stands four times as far out as the largest number of shots, and no label at half of the smallest. Only
    panels with two numbers of shots or more are kept.
    """
    rows = list(rows)
    counts = sorted({int(row.shots) for row in rows if row.shots not in ("0", "full")})
    edge = {"full": 4.0 * max(counts, default=1), "0": 0.5 * min(counts, default=1)}
    several = len({row.protocol for row in rows}) > 1
    found = pd.DataFrame(
        [
            (
                row.dataset + (f" · {row.protocol}" if several else "") + f"\n{row.backbone}",
                row.method,
                row.shots,
                edge.get(row.shots) or float(row.shots),
                row.accuracy.mean,
                row.accuracy.low,
                row.accuracy.high,
                row.accuracy.n,
            )
            for row in rows
        ],
        columns=list(_COLUMNS),
    )
    return found[found.groupby("panel")["shots"].transform("nunique") > 1]


def chart(data: pd.DataFrame) -> alt.FacetChart:
    """Draw it; panels beyond the first few are left to the tables."""
    kept = list(dict.fromkeys(data["panel"]))[: look.MOST_PANELS]
    data = data[data["panel"].isin(kept)]
    names = dict(zip(data["place"], data["shots"], strict=True))
    told = "".join(f"datum.value == {place:g} ? '{name}' : " for place, name in names.items() if name in ("0", "full"))
    places = sorted(names)
    picked = alt.selection_point(fields=["method"], bind="legend")
    x = alt.X(
        "place:Q",
        title="shots",
        scale=alt.Scale(type="log", domain=[places[0], places[-1]], nice=False, padding=12),
        axis=alt.Axis(values=places, labelExpr=f"{told}datum.label", format="d", grid=False),
    )
    colour = alt.Color("method:N", title=None, sort=list(dict.fromkeys(data["method"])))
    base = alt.Chart(data).encode(x=x, color=colour)
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("low:Q"), y2="high:Q", opacity=alt.condition(picked, alt.value(0.18), alt.value(0.02))
    )
    shown = alt.condition(picked, alt.value(1.0), alt.value(0.12))
    line = base.mark_line(point=True).encode(
        y=alt.Y(**look.accuracy()),
        opacity=shown,
        tooltip=["method:N", "shots:N", alt.Tooltip("mean:Q", format=".1%"), "seeds:Q"],
    )
    layer = alt.layer(band, line, data=data).add_params(picked).properties(width=look.PANEL, height=170)
    return look.panels(layer, "panel", data, own="y")
