"""How all figures look: colours by day and by night, sizes, and panels side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import pandas as pd

Layer = alt.LayerChart | alt.FacetChart  # the library does not say which of the two a layer stays
PANEL = 230  # pixels a panel is wide, its axis apart
LABEL = 460  # pixels after which a name is cut
MOST_PANELS = 24

_DAY = {"ink": "#1d1f21", "soft": "#5d6166", "line": "#dcd8cf", "low": "#ffffff", "high": "#86bfc3", "bad": "#e9a697"}
_NIGHT = {"ink": "#e6e4df", "soft": "#a2a5a9", "line": "#3a3f45", "low": "#1b1e22", "high": "#236a70", "bad": "#8f4437"}
_HUES = ("#0b6e75", "#d1632b", "#6a58b0", "#b5891f", "#a3305f", "#44823f", "#3a6ea5", "#86644a", "#737a86", "#c75b94")
_NIGHT_HUES = (
    "#62c3c9", "#f0905a", "#ab9dea", "#e0b65c", "#ea86ae", "#86c67f", "#7fb2e5", "#cfa985", "#a9afba", "#f3a3cb"
)  # fmt: skip


def _config(tones: Mapping[str, str], hues: tuple[str, ...]) -> dict[str, Any]:
    words = {"labelColor": tones["soft"], "titleColor": tones["soft"], "labelFontSize": 11, "titleFontSize": 11}
    return {
        "background": "transparent",
        "font": "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, Arial, sans-serif",
        "view": {"stroke": tones["line"]},
        "axis": words
        | {"gridColor": tones["line"], "domainColor": tones["line"], "tickColor": tones["line"], "titleFontWeight": 400,
           "labelLimit": LABEL},
        "axisDiscrete": {"grid": False},
        "legend": words | {"orient": "bottom", "columns": 4, "labelLimit": LABEL, "symbolLimit": 40, "symbolOpacity": 1,
                   "symbolBaseFillColor": tones["soft"], "symbolBaseStrokeColor": tones["soft"]},
        "header": {"labelColor": tones["ink"], "labelFontSize": 12, "labelFontWeight": 600, "labelLimit": 340,
                   "labelAnchor": "start", "labelLineHeight": 15},
        "title": {"color": tones["ink"], "fontSize": 12, "fontWeight": 600, "anchor": "start", "frame": "bounds",
                  "limit": 600},
        "range": {
            "category": list(hues), "ramp": [tones["low"], tones["high"]], "heatmap": [tones["low"], tones["high"]],
            "diverging": [tones["bad"], tones["low"], tones["high"]],
        },
        "mark": {"color": hues[0]},
        "text": {"color": tones["ink"]},
        "rule": {"color": tones["soft"]},
        "tick": {"color": hues[0]},
        "line": {"strokeWidth": 2},
        "point": {"filled": True, "size": 50},
        "facet": {"spacing": 24},
        "concat": {"spacing": 24},
    }  # fmt: skip


DAY = _config(_DAY, _HUES)
NIGHT = _config(_NIGHT, _NIGHT_HUES)


def panels(layer: Layer, by: str, frame: pd.DataFrame, columns: int = 3, own: str = "") -> alt.FacetChart:
    """Return one panel a value of a column, in the order in which the values come.

    Args:
        layer: What each panel shows; it carries the data.
        by: The column; a line break in a value is one in its title.
        frame: The data.
        columns: Panels side by side.
        own: Channels for which each panel has a scale of its own: ``x``, ``y`` or ``xy``.
    """
    order = list(dict.fromkeys(frame[by]))
    side = min(columns, len(order))
    header = alt.Header(labelExpr=r"split(datum.label, '\n')")
    chart = layer.facet(facet=alt.Facet(f"{by}:N", title=None, sort=order, header=header), columns=side)
    resolved: alt.FacetChart = chart.resolve_scale(
        x="independent" if "x" in own else "shared", y="independent" if "y" in own else "shared"
    )
    return resolved


def stack(draw: Callable[[pd.DataFrame], Layer], by: str, frame: pd.DataFrame) -> alt.VConcatChart:
    """Return one drawing a value of a column, under each other; names and sizes are each drawing's own.

    Args:
        draw: Makes a drawing of the rows of one value.
        by: The column.
        frame: The data.
    """
    groups = frame.groupby(by, sort=False)
    return alt.vconcat(*(draw(group).properties(title=str(name)) for name, group in groups))


def accuracy(field: str = "mean", title: str = "test score") -> dict[str, Any]:
    """Return the encoding of an axis of scores, larger is better, in percent."""
    return {
        "shorthand": f"{field}:Q",
        "title": title,
        "scale": alt.Scale(zero=False, nice=True),
        "axis": alt.Axis(format="~%", tickCount=5),
    }
