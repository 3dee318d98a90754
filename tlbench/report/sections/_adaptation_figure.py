"""What each validator would have chosen without a label of the target, beside the oracle."""

from __future__ import annotations

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report.sections._adaptation_choices import ORACLE, ValidatorChoices

CAPTION = (
    "Test accuracy of the model that each validator chose, mean over seeds; the bar is the oracle, that chose by the "
    "test. Upper bounds are not drawn."
)
COLUMNS = ("panel", "row", "validator", "mean", "oracle", "ranking")
_MOST = 40


def frame(found: ValidatorChoices) -> pd.DataFrame:
    """Return one row a setting and validator, and one for its oracle, which has no ``mean``."""
    rows = [
        (
            f"{row.dataset}, {text.shots(row.shots)}",
            f"{row.method} · {row.backbone}",
            name,
            mean,
            oracle,
            name == row.ranking,
        )
        for row in found.rows[:_MOST]
        for name, mean, oracle in (*((*pair, None) for pair in row.accuracy.items()), (ORACLE, None, row.oracle))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def chart(data: pd.DataFrame) -> alt.VConcatChart:
    """Draw it: a line of points a setting."""
    names = [name for name in dict.fromkeys(data["validator"]) if name != ORACLE]
    return look.stack(lambda group: _points(group, names), "panel", data)


def _points(data: pd.DataFrame, names: list[str]) -> look.Layer:
    order = list(dict.fromkeys(data["row"]))
    base = alt.Chart(data).encode(y=alt.Y("row:N", title=None, sort=order))
    oracle = base.mark_tick(thickness=3, size=18, color="gray").encode(
        x=alt.X(**look.accuracy("oracle")), tooltip=["row:N", alt.Tooltip("oracle:Q", format=".1%")]
    )
    points = base.mark_point(size=70).encode(
        x=alt.X(**look.accuracy()),
        tooltip=["row:N", "validator:N", alt.Tooltip("mean:Q", format=".1%")],
        color=alt.Color("validator:N", title=None, scale=alt.Scale(domain=names)),
        shape=alt.Shape("validator:N", title=None, scale=alt.Scale(domain=names)),
    )
    return alt.layer(oracle, points, data=data).properties(width=360, height=alt.Step(26))
