"""Heat map of the datasets: a row a method on a backbone, a column a dataset and number of shots."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report.comparable_cells import by_shots
from tlbench.report.labels import row_texts
from tlbench.report.rows.settings import SettingRow

CAPTION = "Mean test score in percent. The deeper the colour, the nearer to the best of the column."
COLUMNS = ("panel", "row", "column", "mean", "percent", "shade", "seeds")


def frame(rows: Iterable[SettingRow]) -> pd.DataFrame:
    """Return one row a setting; ``shade`` is 1 for the best of its column and 0 for the worst."""
    rows = sorted(rows, key=lambda row: (row.protocol, row.dataset, by_shots(row.shots)))
    told = row_texts((row.method, row.backbone) for row in rows)
    names = text.short(dict.fromkeys(row.dataset for row in rows))
    found = pd.DataFrame(
        [
            (
                row.protocol,
                told[row.method, row.backbone],
                f"{names[row.dataset]}, {text.shots(row.shots)}",
                row.accuracy.mean,
                100 * row.accuracy.mean,
                0.0,
                row.accuracy.n,
            )
            for row in rows
        ],
        columns=list(COLUMNS),
    )
    columns = found.groupby(["panel", "column"])["mean"]
    low, high = columns.transform("min"), columns.transform("max")
    found["shade"] = ((found["mean"] - low) / (high - low).where(high > low)).fillna(1.0)
    return found


def chart(data: pd.DataFrame) -> alt.VConcatChart:
    """Draw it, a map a protocol, rows by their mean."""
    return look.stack(_map, "panel", data)


def _map(data: pd.DataFrame) -> look.Layer:
    order = data.groupby("row")["mean"].mean().sort_values(ascending=False).index.tolist()
    base = alt.Chart(data).encode(
        x=alt.X(
            "column:N",
            title=None,
            sort=list(dict.fromkeys(data["column"])),
            axis=alt.Axis(orient="top", labelAngle=-40),
        ),
        y=alt.Y("row:N", title=None, sort=order),
    )
    tiles = base.mark_rect().encode(
        color=alt.Color("shade:Q", legend=None, scale=alt.Scale(domain=[0, 1], range="ramp", interpolate="rgb")),
        tooltip=["row:N", "column:N", alt.Tooltip("mean:Q", format=".1%"), "seeds:Q"],
    )
    numbers = base.mark_text(fontSize=11).encode(text=alt.Text("percent:Q", format=".1f"))
    return alt.layer(tiles, numbers, data=data).properties(width=alt.Step(46), height=alt.Step(22))
