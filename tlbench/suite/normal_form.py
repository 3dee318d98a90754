"""The one form of a suite: where the file may write a thing in several ways, this is the way that is checked.

A name alone becomes a mapping with ``name``; keys beside the own ones of a grid, dataset or backbone move under
``options`` or ``params``. What is not of the expected type is left as it is, for the checks to report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from tlbench.plugins.metrics import METRIC, metric_names
from tlbench.plugins.registry import ProtocolConstants
from tlbench.suite.catalog import Catalog
from tlbench.suite.spec import BackboneSpec, DatasetSpec, Grid

GRID_KEYS = frozenset(Grid.model_fields) - {"options"}
"""Keys of a grid that are not options of its protocol."""
_BACKBONE_KEYS = frozenset(BackboneSpec.model_fields) - {"params"}
_DATASET_KEYS = frozenset(DatasetSpec.model_fields) - {"params"}


def normal_form(suite: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return a suite in its normal form.

    Args:
        suite: What the file says. Names of datasets may be written in any case.
        catalog: What a suite may name.
    """
    if not isinstance(suite.get("grids"), list):
        return dict(suite)
    grids = [_grid(grid, catalog) for grid in suite["grids"]]
    if suite.get("metric") in metric_names():
        grids = [_scored_by(grid, suite["metric"], catalog) for grid in grids]
    return {**suite, "grids": grids}


def takes_metric(grid: Mapping[str, Any], catalog: Catalog) -> bool:
    """Say whether the protocol of a grid lets the suite choose the metric."""
    name = grid.get("protocol")
    return name in catalog.protocols and METRIC in catalog.declare("protocols", str(name)).settings.model_fields


def protocol_constants(grid: Mapping[str, Any], catalog: Catalog) -> ProtocolConstants:
    """Return the constants of a grid's protocol, the defaults where there is no such protocol."""
    name = str(grid.get("protocol"))
    return catalog.declare("protocols", name).constants if name in catalog.protocols else ProtocolConstants(VERSION=1)


def list_of(value: Any) -> list[Any]:
    """Return a list as it is, and an empty one for anything else."""
    return value if isinstance(value, list) else []


def mappings_in(value: Any) -> Iterable[dict[str, Any]]:
    """Return the items of a list, empty mappings for those that are none, so that positions stay the same."""
    return (item if isinstance(item, dict) else {} for item in list_of(value))


def _grid(value: Any, catalog: Catalog) -> Any:
    if not isinstance(value, dict):
        return value
    grid = _move_others(value, GRID_KEYS, "options")
    usual_shots = protocol_constants(grid, catalog).USUAL_SHOTS
    if usual_shots is not None:
        grid.setdefault("shots", list(usual_shots))
    forms: dict[str, Callable[[Any], Any]] = {
        "methods": partial(_method, catalog=catalog),
        "datasets": partial(_dataset, catalog=catalog),
        "backbones": partial(_backbone, catalog=catalog),
    }
    for key, form in forms.items():
        if isinstance(grid.get(key), list):
            grid[key] = [form(item) for item in grid[key]]
    return grid


def _scored_by(grid: Any, metric: str, catalog: Catalog) -> Any:
    """Return a grid with the suite's metric, where its protocol takes one and the grid names none."""
    if not isinstance(grid, dict) or not takes_metric(grid, catalog):
        return grid
    options = grid.get("options", {})
    return {**grid, "options": {METRIC: metric} | options} if isinstance(options, dict) else grid


def _method(value: Any, catalog: Catalog) -> Any:
    method = _with_name(value)
    teacher = method.get("teacher") if isinstance(method, dict) else None
    if not isinstance(teacher, dict) or "backbone" not in teacher:
        return method
    return method | {"teacher": teacher | {"backbone": _backbone(teacher["backbone"], catalog)}}


def _dataset(value: Any, catalog: Catalog) -> Any:
    dataset = _with_name(value)
    if not isinstance(dataset, dict):
        return dataset
    if "name" not in dataset:
        joining = (name for name, joined in catalog.joined_datasets.items() if dataset.keys() & set(joined.members))
        implied = next(joining, None)
        dataset = dataset if implied is None else {"name": implied, **dataset}
    name = dataset.get("name")
    spelling = {"name": catalog.dataset_spelling.get(name.lower(), name)} if isinstance(name, str) else {}
    return _move_others(dataset | spelling, _DATASET_KEYS, "params")


def _backbone(value: Any, catalog: Catalog) -> Any:
    backbone = _with_name(value)
    if not isinstance(backbone, dict):
        return backbone
    backbone = _move_others(backbone, _BACKBONE_KEYS, "params")
    if "pretrain" in backbone:
        backbone["pretrain"] = _pretrain(backbone["pretrain"], catalog)
    return backbone


def _pretrain(value: Any, catalog: Catalog) -> Any:
    if not isinstance(value, dict):
        return value
    forms = {"dataset": _dataset, "after": _pretrain}
    return value | {key: form(value[key], catalog) for key, form in forms.items() if key in value}


def _with_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _move_others(value: dict[str, Any], own: frozenset[str], under: str) -> dict[str, Any]:
    """Return a mapping whose keys other than its own stand under one key, which is missing where there are none."""
    others = {key: item for key, item in value.items() if key not in own}
    return {key: item for key, item in value.items() if key in own} | ({under: others} if others else {})
