"""The page as one text: what the templates are told, and the environment in which they are filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

import tlbench
from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report.rendered_figures import Drawn
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import MOST_COMPARED, Board
from tlbench.report.sections import _pairwise_rank_diagram as ranks
from tlbench.report.sections import _search_figure as search_figure
from tlbench.report.sections import _search_scores as scores
from tlbench.report.sections import _search_table as search_sheet
from tlbench.report.sections._provenance_reproduction import reproductions
from tlbench.report.sections._search_rows import searched
from tlbench.report.sections._summary_protocols import protocol_boxes
from tlbench.report.table import Bold, Sheet
from tlbench.report.trials import spent

SHOWN = 300
"""Rows of a table that the page shows; the files beside it hold all."""
_LONG = 40  # rows from which a table scrolls by itself
_SMALL = 5
_MARKS = re.compile(r"([(/@,=:_·]|-\b)")
_HEAD, _TAIL = 8, 6  # lines of a long traceback


def html(report: Report, tables: Mapping[str, Sheet], drawn: Drawn, script: str) -> str:
    """Return the page. Every name and message is escaped; nothing is loaded from anywhere.

    Args:
        report: The gathered report.
        tables: Its tables.
        drawn: Its figures.
        script: :func:`tlbench.report.vega_bundle.library`, or empty where there is no figure.
    """
    results = report.results
    specs: dict[str, Any] = {"day": look.DAY, "night": look.NIGHT, "specs": {}}
    specs["specs"] = {figure.name: figure.spec for figure in drawn.figures.values()}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            results=results,
            tables=tables,
            drawn=drawn,
            specs=specs,
            library=script,
            text=text,
            axis=_axis,
            scale=_scale,
            shown=SHOWN,
            long=_LONG,
            most_compared=MOST_COMPARED,
            excerpt=_excerpt,
            coverage=report.coverage(),
            boxes=protocol_boxes(results.done, report.cells),
            trials=spent(report.settings, results.trials),
            searched=searched(report.settings, results.trials),
            search=search_sheet,
            scores=scores,
            search_axes=search_figure.AXES,
            most_panels=look.MOST_PANELS,
            no_diagram=ranks.absence(report.boards),
            reproductions=reproductions(report.suites, report.cells),
            hours=text.seconds(float(results.done["cost/seconds"].sum())),
            fingerprints=sorted(set(zip(results.done["dataset"], results.done["dataset_fingerprint"], strict=True))),
            provenance={key: _listed(values) for key, values in results.provenance.items() if key not in _UNTOLD},
            now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            version=tlbench.__version__,
        )
    )


_UNTOLD = ("pid", "attempt", "method_source", "protocol_source")  # too many to read; the records hold them


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["name"] = _breakable
    environment.filters["shell"] = lambda suite: shlex.quote(f"{suite}.yaml")
    environment.tests["bold"] = lambda cell: isinstance(cell, Bold)
    return environment


def _breakable(name: str) -> Markup:
    """Return a name that breaks, where it must, behind its marks and not within a word."""
    arrow = str(escape("->"))
    marked = _MARKS.sub(r"\1<wbr>", str(escape(name)))
    return Markup(marked.replace(arrow, f'<span class="whole">{arrow}</span>'))


def _listed(values: dict[str, int]) -> str:
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return ordered[0][0] or text.NONE
    shown = ", ".join(f"{value or text.NONE} ({cells} cells)" for value, cells in ordered[:_SMALL])
    return shown + (f", and {len(ordered) - _SMALL} more" if len(ordered) > _SMALL else "")


def _excerpt(traceback: str) -> str:
    """Return the first and the last lines of a traceback: where it started, and what went wrong."""
    lines = traceback.splitlines()
    if len(lines) <= _HEAD + _TAIL:
        return traceback
    return "\n".join([*lines[:_HEAD], f"... {len(lines) - _HEAD - _TAIL} lines ...", *lines[-_TAIL:]])


def _axis(board: Board) -> tuple[float, float]:
    """Return the ends of the axis on which a board's intervals are drawn, in multiples of 5 points."""
    lows = [row.accuracy.mean if row.accuracy.low is None else row.accuracy.low for row in board.rows]
    highs = [row.accuracy.mean if row.accuracy.high is None else row.accuracy.high for row in board.rows]
    low, high = int(20 * min(lows)) / 20, -int(-20 * max(highs) // 1) / 20
    return low, max(high, low + 0.05)


def _scale(value: float, axis: tuple[float, float]) -> float:
    """Return where a value lies on an axis, in percent."""
    low, high = axis
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)
