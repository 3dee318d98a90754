"""Checks the metrics that a suite chooses, for all grids or for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.validation import Problem, show
from tlbench.plugins.metrics import METRIC, metric_declaration, metric_names
from tlbench.suite.catalog import Catalog
from tlbench.suite.normal_form import list_of, takes_metric


def check_metric(suite: dict[str, Any], catalog: Catalog) -> Iterator[Problem]:
    """Look up the metric of a suite and those of its grids.

    Args:
        suite: In its normal form; any part of it may still be wrong.
        catalog: What a suite may name.
    """
    grids = list_of(suite.get("grids"))
    if suite.get(METRIC) is not None:
        yield from _check_name(suite[METRIC], (METRIC,))
        named = [grid for grid in grids if isinstance(grid, dict) and grid.get("protocol") in catalog.protocols]
        if named and not any(takes_metric(grid, catalog) for grid in named):
            taking = ", ".join(name for name in catalog.protocols if takes_metric({"protocol": name}, catalog))
            yield Problem((METRIC,), f"{METRIC}: no grid has a protocol that takes one", f"{taking} do")
    for position, grid in enumerate(grids):
        options = grid.get("options") if isinstance(grid, dict) else None
        if isinstance(options, dict) and METRIC in options and takes_metric(grid, catalog):
            yield from _check_name(options[METRIC], ("grids", position, METRIC))


def _check_name(name: Any, here: tuple[str | int, ...]) -> Iterator[Problem]:
    if not isinstance(name, str):
        yield Problem(here, f"{METRIC}: must be a name, not {show(name)}", nearest("", metric_names()))
    elif name not in metric_names():
        yield Problem(here, f"unknown metric {name!r}", nearest(name, metric_names()))
    else:
        try:
            metric_declaration(name)
        except UserError as error:
            yield Problem(here, error.message, error.hint)
