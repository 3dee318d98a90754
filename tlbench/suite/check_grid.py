"""Checks a grid of a suite: its protocol's options and shots, its methods with their teachers, its datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlbench.core.errors import nearest
from tlbench.core.validation import Location, Problem, check
from tlbench.suite.catalog import Catalog
from tlbench.suite.check_backbone import check_backbone
from tlbench.suite.check_names import check_dataset, check_method
from tlbench.suite.normal_form import GRID_KEYS, list_of, mappings_in, protocol_constants
from tlbench.suite.spec import TeacherSpec, check_shots


def check_grid(grid: dict[str, Any], here: Location, folder: Path, catalog: Catalog) -> Iterator[Problem]:
    """Look up every name in a grid, and check the parameters that go with it.

    Args:
        grid: In its normal form; any part of it may still be wrong.
        here: Where it stands.
        folder: Where relative paths start.
        catalog: What a suite may name.
    """
    yield from _check_options(grid, here, catalog)
    yield from _check_shots(grid, here, catalog)
    for m, method in enumerate(mappings_in(grid.get("methods"))):
        yield from check_method(method, (*here, "methods", m), "name", catalog)
        yield from _check_teacher(method, (*here, "methods", m), folder, catalog)
    for d, dataset in enumerate(mappings_in(grid.get("datasets"))):
        yield from check_dataset(dataset, (*here, "datasets", d), catalog)
        yield from _check_pairs(dataset, grid, (*here, "datasets", d), catalog)
    if grid.get("backbones") == [] and any(
        _reads_backbone(method, catalog) for method in mappings_in(grid.get("methods"))
    ):
        yield Problem((*here, "backbones"), "backbones: must not be empty")
    for b, backbone in enumerate(mappings_in(grid.get("backbones"))):
        yield from check_backbone(backbone, (*here, "backbones", b), folder, catalog)


def _reads_backbone(method: dict[str, Any], catalog: Catalog) -> bool:
    name = method.get("name")
    return name not in catalog.methods or catalog.declare("methods", str(name)).constants.BACKBONE


def _check_options(grid: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    """Check the protocol's name and options; of an option that another protocol takes, the hint says so."""
    name = grid.get("protocol")
    if not isinstance(name, str):
        return
    if name not in catalog.protocols:
        yield Problem((*here, "protocol"), f"unknown protocol {name!r}", nearest(name, catalog.protocols))
        return
    settings = catalog.declare("protocols", name).settings
    _, problems = check(settings, grid.get("options", {}), here, GRID_KEYS)
    for problem in problems:
        owner = next((o for o in catalog.protocols if o != name and _takes(o, problem, here, catalog)), None)
        hint = f"{owner} takes it, {name} does not" if owner else problem.hint
        yield Problem(problem.where, problem.what, hint)


def _takes(protocol: str, problem: Problem, here: Location, catalog: Catalog) -> bool:
    """Say whether the problem is an unknown key that is an option of some protocol."""
    if not problem.what.startswith("unknown key") or len(problem.where) != len(here) + 1:
        return False
    return problem.where[-1] in catalog.declare("protocols", protocol).settings.model_fields


def _check_shots(grid: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    least = protocol_constants(grid, catalog).LEAST_SHOTS
    for position, value in enumerate(list_of(grid.get("shots"))):
        try:
            check_shots(value, least)
        except ValueError as error:
            yield Problem((*here, "shots", position), f"shots: {error}")


def _check_pairs(dataset: dict[str, Any], grid: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    """Check that a dataset has a source and a target where the protocol needs them, and says so in one way only."""
    name, pairs = dataset.get("name"), dataset.get("pairs")
    if name in catalog.paired_datasets and pairs is not None:
        what = "pairs: what has a source and a target is one pair"
        yield Problem((*here, "pairs"), what, "give the one or the other")
    single = name in catalog.datasets and name not in catalog.paired_datasets
    if single and pairs is None and protocol_constants(grid, catalog).PAIRS:
        what = f"{grid['protocol']} needs a source and a target, but {name} is one dataset"
        hint = "write {source: A, target: B}, or add pairs: all for each two of its domains"
        yield Problem((*here, "name"), what, hint)


def _check_teacher(method: dict[str, Any], here: Location, folder: Path, catalog: Catalog) -> Iterator[Problem]:
    """Check that a method has a teacher if, and only if, it reads one, and that the teacher can be trained."""
    name, teacher = method.get("name"), method.get("teacher")
    if isinstance(name, str) and name in catalog.methods and catalog.learns_from_teacher(name) != (teacher is not None):
        if teacher is None:
            yield Problem((*here, "name"), f"{name} learns from a teacher: name one", "teacher: {backbone: ...}")
        else:
            those = ", ".join(each for each in catalog.declared("fit") if catalog.learns_from_teacher(each))
            yield Problem((*here, "teacher"), f"{name} reads no teacher", f"methods that do: {those or 'none'}")
    if not isinstance(teacher, dict):
        return
    here = (*here, "teacher")
    teacher = {"method": TeacherSpec.model_fields["method"].default} | teacher
    yield from check_method(teacher, here, "method", catalog)
    if teacher["method"] in catalog.methods and teacher["method"] not in catalog.teachers():
        hint = nearest(teacher["method"], catalog.teachers())
        yield Problem((*here, "method"), f"{teacher['method']} cannot train a teacher", hint)
    if isinstance(teacher.get("backbone"), dict):
        if "label" in teacher["backbone"]:
            yield Problem((*here, "backbone", "label"), "label: a teacher has no row that would be called so")
        yield from check_backbone(teacher["backbone"], (*here, "backbone"), folder, catalog)
