"""Checks the name of a method or dataset and the parameters beside it, wherever a suite names one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.validation import Location, Problem, check
from tlbench.suite.catalog import Catalog


def check_method(method: dict[str, Any], here: Location, key: str, catalog: Catalog) -> Iterator[Problem]:
    """Check a method's name and parameters.

    Args:
        method: A mapping that names it, with ``params``.
        here: Where the mapping stands.
        key: The key of the name: ``name`` in a grid, ``method`` in a pre-training run and a teacher.
        catalog: Declares the methods.
    """
    name, params = method.get(key), method.get("params", {})
    if not isinstance(name, str):
        return
    if name not in catalog.methods:
        yield Problem((*here, key), f"unknown method {name!r}", nearest(name, catalog.methods))
        return
    settings = catalog.declare("methods", name).settings
    if isinstance(params, dict):
        yield from check(settings, params, (*here, "params"))[1]
    if key == "name":
        yield from (
            Problem((*here, stray), f"{name} takes {stray!r} under params", f"params: {{{stray}: ...}}")
            for stray in method
            if stray in settings.model_fields and stray not in ("name", "params", "teacher")
        )


def check_dataset(dataset: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    """Check a dataset's name and parameters, without opening it.

    Args:
        dataset: ``name`` and ``params``.
        here: Where it stands.
        catalog: Validates the parameters.
    """
    name, params = dataset.get("name"), dataset.get("params", {})
    if not isinstance(name, str):
        return
    if name not in catalog.datasets:
        yield Problem((*here, "name"), f"unknown dataset {name!r}", nearest(name, catalog.datasets))
        return
    try:
        catalog.validate_dataset(name, dict(params))
    except UserError as error:
        yield Problem(where_quoted(error, params, here), error.message, error.hint)


def where_quoted(error: UserError, params: dict[str, Any], here: Location) -> Location:
    """Return where the parameter stands that the message quotes, else where the whole thing stands."""
    return next(((*here, key) for key in params if repr(key) in error.message), here)
