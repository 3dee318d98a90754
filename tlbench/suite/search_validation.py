"""What decides between the trials of a search: validation accuracy, or the validator that a grid names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from tlbench.core.validation import Problem
from tlbench.plugins.metrics import METRIC, USUAL, metric_declaration
from tlbench.search.scheduler import scheduler
from tlbench.search.space import Space, space_of
from tlbench.suite.catalog import Catalog
from tlbench.suite.resolve import choose_method, choose_protocol
from tlbench.suite.spec import Grid, MethodSpec, Suite

VALIDATOR = "validator"
"""Option of a protocol that judges models when training is over, by a score that need not be accuracy."""
SHARES = frozenset({"accuracy", "source_accuracy"})
"""Scores that are shares of examples, and so are told in percent; others have units of their own."""
_BLIND = frozenset({"last"})  # they say the same of every trial


def searched_space(spec: MethodSpec, suite: Suite, catalog: Catalog) -> Space | None:
    """Return what a suite searches of a method that it lists, None where nothing is."""
    if suite.search is None:
        return None
    replaced = {key: (each.space, each.when) for key, each in suite.search.space.get(spec.name, {}).items()}
    declared = catalog.declare("methods", spec.name)
    space = space_of(
        declared.settings,
        choose_method(spec.name, spec.params, catalog).params,
        replaced,
        frozenset(spec.params),
        declared=suite.search.declared,
        segmentable=declared.constants.SEGMENTABLE,
    )
    return space if space.dimensions else None


def undecided(suite: Suite, catalog: Catalog) -> Iterator[Problem]:
    """Yield why a search could not choose: a validator tells no trials apart, or has no points to weigh cost by."""
    cost = suite.search is not None and suite.search.objective == "accuracy_and_cost"
    for position, grid in enumerate(suite.grids if cost else ()):
        name = str(choose_protocol(grid, catalog).options.get(METRIC, USUAL))
        if metric_declaration(name).constants.UNIT != "percent":
            what = (
                f"objective: accuracy_and_cost is for trials within a point, but {name} decides in grid {position + 1}"
            )
            yield Problem(("search", "objective"), what, "objective: accuracy takes the best by it")
    for position, grid, validator in _validated(suite, catalog):
        if validator in _BLIND:
            names = get_args(catalog.declare("protocols", grid.protocol).settings.model_fields[VALIDATOR].annotation)
            what = f"{VALIDATOR}: {validator} says the same of every trial, so that a search has nothing to choose by"
            fitting = ", ".join(name for name in names if name not in _BLIND)
            yield Problem(("grids", position, VALIDATOR), what, f"with search: {fitting}")
        elif cost and validator not in SHARES:
            what = (
                f"objective: accuracy_and_cost is for trials within a point of accuracy, but {validator} decides in "
                f"{grid.protocol}"
            )
            hint = f"objective: accuracy takes the best by {validator}; or choose by {VALIDATOR}: source_accuracy"
            yield Problem(("search", "objective"), what, hint)


def ends_no_trial(suite: Suite, catalog: Catalog) -> tuple[str, ...]:
    """Return a note for each protocol in which the suite's scheduler has nothing to end a trial early by."""
    if suite.search is None or not scheduler(suite.search.scheduler).checkpoints:
        return ()
    protocols = dict.fromkeys(grid.protocol for _, grid, _ in _validated(suite, catalog))
    told = f"scheduler: {suite.search.scheduler} ends no trial early: what one is worth is not known before its end"
    return tuple(f"{protocol}: {told}" for protocol in protocols)


def _validated(suite: Suite, catalog: Catalog) -> Iterator[tuple[int, Grid, str]]:
    """Yield the grids in which something is searched and a validator decides, their positions and the validators."""
    for position, grid in enumerate(suite.grids):
        validator = choose_protocol(grid, catalog).options.get(VALIDATOR)
        if validator is not None and any(searched_space(spec, suite, catalog) for spec in grid.methods):
            yield position, grid, str(validator)
