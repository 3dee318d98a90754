"""The figures of one report: which rows they show, their specifications, and svg and pdf made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import Board
from tlbench.report.sections import _adaptation_figure as adaptation
from tlbench.report.sections import _backbones_figure as backbones
from tlbench.report.sections import _cost_figure as cost
from tlbench.report.sections import _curves_figure as curves
from tlbench.report.sections import _datasets_heat as heat
from tlbench.report.sections import _pairwise_matrix as pairwise
from tlbench.report.sections import _pairwise_rank_diagram as ranks
from tlbench.report.sections import _reliability_seeds as seeds
from tlbench.report.sections import _search_figure as search
from tlbench.report.sections import _shots_figure as shots

FIGURES = (
    "heat", "shots", "backbones", "cost", "search", "pairwise", "ranks", "curves", "adaptation", "seeds",
)  # fmt: skip
_METHODS, _BACKBONES = 8, 6  # that a figure can tell apart


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    Attributes:
        name: File name without its ending.
        caption: Under the figure.
        spec: Vega-Lite, without colours: these come from :mod:`tlbench.report.chart_style`.
    """

    name: str
    caption: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """All figures that the results allow, and what was left out of them.

    Attributes:
        figures: By name.
        left_out: Rows of the leaderboard that no figure shows; the tables have them all.
    """

    figures: dict[str, Figure]
    left_out: int


def draw(report: Report) -> Drawn:
    """Make the specifications of all figures that have something to show."""
    rows = {(board.protocol, *row) for board in report.boards for row in leading(board)}
    boards = [_of_rows(board, rows) for board in report.boards]
    shown = [row for row in report.settings if (row.protocol, row.method, row.backbone) in rows]
    frames: dict[str, tuple[ModuleType, pd.DataFrame]] = {
        "heat": (heat, heat.frame(shown)),
        "shots": (shots, shots.frame(shown)),
        "backbones": (backbones, backbones.frame(boards)),
        "cost": (cost, cost.frame(boards)),
        "search": (search, search.frame(report.results.trials)),
        "pairwise": (pairwise, pairwise.frame(report.boards)),
        "ranks": (ranks, ranks.frame(report.boards)),
        "curves": (curves, curves.frame(report.cells, report.results.attached, rows)),
        "adaptation": (adaptation, adaptation.frame(report.choices)),
        "seeds": (seeds, seeds.frame(report.cells, rows)),
    }
    figures = {
        name: Figure(name, module.CAPTION, _spec(module.chart, frame))
        for name, (module, frame) in frames.items()
        if len(frame)
    }
    everything = sum(not row.is_bound for board in report.boards for row in board.rows)
    return Drawn(figures, everything - len(rows))


def leading(board: Board) -> set[tuple[str, str]]:
    """Return the rows that figures show: the best methods and the baseline on the best backbones."""
    rows = [row for row in board.rows if not row.is_bound]
    methods = list(dict.fromkeys(row.method for row in rows))
    backbones = list(dict.fromkeys(row.backbone for row in rows))[:_BACKBONES]
    kept = [method for method in methods[:_METHODS] if method != board.baseline.label]
    if board.baseline.label in methods:
        kept = [*kept[: _METHODS - 1], board.baseline.label]
    return {(row.method, row.backbone) for row in rows if row.method in kept and row.backbone in backbones}


def svg(figure: Figure) -> str:
    """Return the figure as it looks by day."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg({**figure.spec, "config": {**look.DAY, "background": "white"}}))


def pdf(drawing: str) -> bytes:
    """Return a drawing as a page of its size."""
    import vl_convert

    return bytes(vl_convert.svg_to_pdf(drawing))


def _of_rows(board: Board, rows: set[tuple[str, str, str]]) -> Board:
    kept = tuple(row for row in board.rows if (board.protocol, row.method, row.backbone) in rows)
    return replace(board, rows=kept)


def _spec(chart: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> dict[str, Any]:
    with alt.data_transformers.enable("default", max_rows=None):  # each figure bounds its rows itself
        spec: dict[str, Any] = chart(frame).to_dict(validate=False)
    spec.pop("config", None)
    return spec
