"""What the search found: the best validation score so far, against trials and against their cost."""

from __future__ import annotations

import altair as alt
import pandas as pd

from tlbench.report.figures import look

CAPTION = "Best validation score so far, by trials and by cost. A line is a setting; every method has the same budget."
COLUMNS = ("panel", "setting", "method", "spent", "best")
AXES = {"trial": "trials", "cost": "GPU-seconds (CPU-seconds without a GPU)"}


def frame(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trial and kind of budget.

    Args:
        trials: One row a trial, in the order in which the trials ended. Columns: ``setting`` (text that names method,
            backbone, dataset and shots: :func:`tlbench.report.trials.setting`), ``method`` (label), ``trial`` (number
            within the setting, from 1), ``value`` (validation score, larger is better; NaN where the trial failed),
            ``best`` (largest value so far in the setting), ``seconds`` (wall seconds of the trial), ``cost``
            (device-seconds spent in the setting so far, this trial's among them), ``status`` (``done``, ``stopped``
            early or ``failed``) and ``params`` (canonical JSON of what was searched).
    """
    known = trials[trials["best"].notna()]
    sides = [
        known.assign(panel=title, spent=known[key].astype("float64"))[list(COLUMNS)] for key, title in AXES.items()
    ]
    return pd.concat(sides, ignore_index=True)


def chart(data: pd.DataFrame) -> alt.FacetChart:
    """Draw it, a panel a kind of budget."""
    lines = (
        alt.Chart(data)
        .mark_line(interpolate="step-after", strokeWidth=1.6, opacity=0.8)
        .encode(
            x=alt.X("spent:Q", title=None, axis=alt.Axis(grid=False, tickCount=6)),
            y=alt.Y(**look.accuracy("best", "best validation score")),
            color=alt.Color("method:N", title=None, sort=list(dict.fromkeys(data["method"]))),
            detail="setting:N",
            tooltip=["setting:N", "spent:Q", alt.Tooltip("best:Q", format=".1%")],
        )
    )
    layer = alt.layer(lines, data=data).properties(width=270, height=200)
    return look.panels(layer, "panel", data, columns=2, own="x")
