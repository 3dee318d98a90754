"""Checks the search of a suite: that scheduler and searcher go together, and that methods take what it searches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlbench.core.config import Settings
from tlbench.core.errors import nearest
from tlbench.core.validation import Location, Problem, check
from tlbench.search.sampler import sampler, sampler_names
from tlbench.search.scheduler import scheduler, scheduler_names
from tlbench.search.spec import Distribution
from tlbench.suite.catalog import Catalog


def check_search(search: Any, listed: set[str], catalog: Catalog) -> Iterator[Problem]:
    """Check what the form of a search does not show.

    Args:
        search: The value under ``search``, of any type.
        listed: Names of the methods in the suite's grids; each of them exists.
        catalog: Declares the methods.
    """
    if not isinstance(search, dict):
        return
    yield from _check_pair(search.get("searcher"), search.get("scheduler"))
    space = search.get("space")
    for name, params in space.items() if isinstance(space, dict) else ():
        if name not in listed:
            yield Problem(("search", "space", name), f"no grid lists a method {name!r}", nearest(name, listed))
        elif isinstance(params, dict):
            yield from _check_space(name, params, catalog.declare("methods", name).settings)


def _check_pair(searcher: object, name: object) -> Iterator[Problem]:
    """Check that a sampler can propose all trials with which a population starts."""
    if searcher not in sampler_names() or name not in scheduler_names():
        return
    if sampler(str(searcher)).learns and scheduler(str(name)).population is not None:
        what = (
            f"searcher: {searcher} learns from one trial after another, and scheduler: {name} starts with many at once"
        )
        fitting = ", ".join(each for each in sampler_names() if not sampler(each).learns)
        yield Problem(("search", "searcher"), what, f"valid: {fitting}")


def _check_space(method: str, params: dict[str, Any], settings: type[Settings]) -> Iterator[Problem]:
    """Check that a method takes every value that a search may try."""
    here: Location = ("search", "space", method)
    for key, value in params.items():
        if key not in settings.model_fields:
            yield Problem((*here, key), f"{method} has no parameter {key!r}", nearest(key, settings.model_fields))
            continue
        distribution, _ = check(Distribution, value)
        if distribution is not None:
            for probe in distribution.probes:
                yield from _problems_of(key, probe, settings, here)
            yield from _check_condition(method, key, distribution, settings)


def _check_condition(method: str, key: str, distribution: Distribution, settings: type[Settings]) -> Iterator[Problem]:
    """Check that a method takes the values of other parameters under which one is searched."""
    here: Location = ("search", "space", method)
    for other, values in distribution.when.items():
        where: Location = (*here, key, "when", other)
        if other not in settings.model_fields or other == key:
            hint = nearest(other, set(settings.model_fields) - {key})
            yield Problem(where, f"{method} has no other parameter {other!r}", hint)
            continue
        for value in values:
            yield from (Problem(where, p.what, p.hint) for p in _problems_of(other, value, settings, here))


def _problems_of(key: str, value: Any, settings: type[Settings], here: Location) -> Iterator[Problem]:
    """Yield what is wrong with one value of a parameter, whatever the others are."""
    problems = check(settings, {key: value}, here)[1]
    return (problem for problem in problems if problem.where[: len(here) + 1] == (*here, key))
