"""A figure of the page: its data, its chart as a Vega-Lite specification, and the drawing of it as svg and pdf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
import pandas as pd

from tlbench.report import chart_style

Chart = alt.LayerChart | alt.FacetChart | alt.VConcatChart


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure of the page.

    Attributes:
        name: File name without its ending.
        caption: Under the figure.
        data: What is drawn, a tidy frame; without a row there is no figure.
        chart: Draws the frame, without colours: these come from :mod:`tlbench.report.chart_style`.
    """

    name: str
    caption: str
    data: pd.DataFrame
    chart: Callable[[pd.DataFrame], Chart]

    def __bool__(self) -> bool:
        """Say whether there is anything to draw."""
        return len(self.data) > 0

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The chart as a Vega-Lite specification, without ``config``."""
        with alt.data_transformers.enable("default", max_rows=None):  # each figure bounds its rows itself
            spec: dict[str, Any] = self.chart(self.data).to_dict(validate=False)
        spec.pop("config", None)
        return spec


def svg(figure: Figure) -> str:
    """Return the figure in the colours of the day."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg({**figure.spec, "config": {**chart_style.DAY, "background": "white"}}))


def pdf(drawing: str) -> bytes:
    """Return an svg drawing as a page of its size."""
    import vl_convert

    return bytes(vl_convert.svg_to_pdf(drawing))
