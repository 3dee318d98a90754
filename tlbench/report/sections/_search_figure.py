"""What the search found, a panel a setting: every trial's validation score, and the best so far."""

from __future__ import annotations

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report.comparable_cells import by_shots
from tlbench.report.sections import _search_scores as scores
from tlbench.report.trials import is_default

CAPTION = (
    "Validation score of every trial. Line: the best so far of those trained to their end; dashes: the default "
    "configuration. A trial that was stopped early is shown with the score it had then; in a population every trial is "
    "a third of a training. Each seed has a search of its own, and a line."
)
COLUMNS = ("panel", "place", "trial", "ended", "cost", "value", "best", "status", "default", "score", "seed")
AXES = {"ended": "trials", "cost": "GPU-seconds (CPU-seconds without a GPU)"}
"""Columns that may be the horizontal axis; a figure starts with the first, and the page offers them all."""
BEST, DONE, STOPPED, PART = "best so far", "trained to its end", "stopped early", "a third of a training"
_TUNED = r"\(tuned\)$|, tuned(?=\)$)"  # as all methods are here


def frame(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row a trial with a score, settings in order of dataset, shots, backbone and method.

    ``ended`` counts the trainings of a search that its trials come to, in the order in which they ended. ``default``
    is the score of the default configuration, and stands in the row of its trial only. Scores are in the unit that
    ``score`` names; where several decided, a panel says which is its own.

    Args:
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    spent = trials.groupby(["setting", "seed", "criterion"])["share"].cumsum().astype("float64").round(3)
    factor = trials["criterion"].map(scores.factor).astype("float64")
    counted = trials.assign(
        ended=spent,
        start=is_default(trials),
        value=trials["value"] * factor,
        best=trials["best"] * factor,
        score=trials["criterion"].map(scores.name_and_unit),
    )
    known = counted[counted["value"].notna()]
    place = known["dataset"] + ", " + known["shots"].map(text.shots) + " · " + known["backbone"]
    if known["protocol"].nunique() > 1:
        place += " · " + known["protocol"]
    method = known["method"].str.replace(_TUNED, "", regex=True)
    methods = {name: number for number, name in enumerate(known["method"].unique())}
    panel = method + "\n" + place.str.replace(" · ", "\n", n=1)
    if known["score"].nunique() > 1:
        panel += "\n" + known["score"]
    found = known.assign(
        place=place,
        panel=panel,
        default=known["value"].where(known["start"] & known["status"].eq("done")),
        status=known["status"].map({"done": DONE, "stopped": STOPPED}).mask(known["share"].lt(1), PART),
        budget=known["shots"].map(by_shots),
        kind=known["method"].map(methods),
    )
    ordered = found.sort_values(["protocol", "dataset", "budget", "backbone", "kind"], kind="stable")
    return ordered[list(COLUMNS)].reset_index(drop=True)


def chart(data: pd.DataFrame) -> alt.FacetChart:
    """Draw it; settings beyond the first few are left to the table."""
    data = data[data["panel"].isin(list(dict.fromkeys(data["panel"]))[: look.MOST_PANELS])]
    names = alt.Scale(domain=[BEST, DONE, STOPPED, *([PART] if data["status"].eq(PART).any() else [])])
    x = alt.X("ended:Q", title=AXES["ended"], axis=alt.Axis(grid=False, tickCount=5), scale=alt.Scale(nice=True))
    mixed = data["score"].nunique() > 1
    score = "validation score" if mixed else f"validation ({data['score'].iloc[0]})"
    default = (
        alt.Chart(data).mark_rule(strokeDash=[4, 3], strokeWidth=1, invalid="filter").encode(y=_y("default", score))
    )
    base = alt.Chart(data).encode(x=x)
    best = base.mark_line(interpolate="step-after", strokeWidth=1.6, invalid="filter").encode(
        y=_y("best", score), color=alt.Color(datum=BEST, scale=names, title=None), detail="seed:N"
    )
    points = base.mark_point(filled=True, size=26).encode(
        y=_y("value", score),
        color=alt.Color("status:N", scale=names, title=None),
        opacity=alt.condition(alt.datum["status"] == STOPPED, alt.value(0.45), alt.value(0.95)),
        tooltip=[
            "trial:Q",
            "seed:N",
            alt.Tooltip("value:Q", format=".4~g"),
            "score:N",
            "status:N",
            alt.Tooltip("cost:Q", format=".3~s"),
        ],
    )
    layer = alt.layer(default, best, points, data=data).properties(width=look.PANEL, height=100)
    return look.panels(layer, "panel", data, columns=4, own="y" if mixed else "")


def _y(field: str, title: str) -> alt.Y:
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5))
