"""Suite file -> Suite: every mistake is reported with its file and line and the nearest valid choice, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.info import PAIR
from tlbench.core.validation import Location, Problem, check
from tlbench.search.spec import Distribution
from tlbench.suite.catalog import Catalog
from tlbench.suite.resolve import baseline_label, choose_method
from tlbench.suite.search_validation import undecided
from tlbench.suite.spec import PUBLISHERS, BackboneSpec, DatasetSpec, Grid, Suite, TeacherSpec, check_shots
from tlbench.suite.yaml_source import Source, parse, read, refuse

_GRID_KEYS = frozenset(Grid.model_fields) - {"options"}
_BACKBONE_KEYS = frozenset(BackboneSpec.model_fields) - {"params"}
_DATASET_KEYS = frozenset(DatasetSpec.model_fields) - {"params"}


def load(path: Path, catalog: Catalog) -> Suite:
    """Read a suite file and check all that can be checked before any data is opened.

    Args:
        path: The YAML file.
        catalog: What a suite may name.

    Raises:
        UserError: With one line ``file:line: what`` for each mistake.
    """
    return _checked(read(path), path.absolute().parent, catalog)


def loads(text: str, catalog: Catalog, name: str = "suite", folder: Path | None = None) -> Suite:
    """Do what :func:`load` does with a text.

    Args:
        text: YAML.
        catalog: What a suite may name.
        name: What stands for the file in messages.
        folder: Where relative paths start; the working directory by default.
    """
    return _checked(parse(text, name), folder or Path.cwd(), catalog)


def _checked(source: Source, folder: Path, catalog: Catalog) -> Suite:
    if not isinstance(source.value, dict):
        kind = "a list" if isinstance(source.value, list) else "a single value"
        raise UserError(f"{source.at(())}: a suite is a mapping with name and grids, not {kind}")
    shaped = _shape(source.value, catalog)
    suite, problems = check(Suite, shaped)
    named = list(_misnamed(shaped, folder, catalog))
    said = {problem.where for problem in named}
    problems = named + [problem for problem in problems if problem.where not in said]
    if suite is None or problems:
        raise refuse(problems, source)
    if problems := list(undecided(suite, catalog)):
        raise refuse(problems, source)
    listed = [spec for grid in suite.grids for spec in grid.methods]
    if suite.baseline is None or suite.baseline.partition("(")[0] in {spec.name for spec in listed if spec.teacher}:
        return suite  # what a teacher is called is not known before its backbone's data are opened
    try:
        plain = (choose_method(spec.name, spec.params, catalog) for spec in listed if spec.teacher is None)
        baseline_label(suite, plain)
    except UserError as error:
        raise UserError(f"{source.at(('baseline',))}: {error.message}", error.hint) from error
    return suite


def _shape(value: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Give each part its one form: names become mappings, and flat keys move under ``options`` or ``params``.

    Args:
        value: What the file says. Names of datasets may be written in any case.
        catalog: What a suite may name.
    """
    shaped = dict(value)
    if isinstance(value.get("grids"), list):
        datasets = {name.lower(): name for name in catalog.datasets}
        shaped["grids"] = [_shape_grid(grid, datasets, catalog) for grid in value["grids"]]
    return shaped


def _shape_grid(value: Any, datasets: Mapping[str, str], catalog: Catalog) -> Any:
    if not isinstance(value, dict):
        return value
    grid = _gather(value, _GRID_KEYS, "options")
    usual = _protocol(grid, catalog).get("USUAL_SHOTS")
    if usual is not None:
        grid.setdefault("shots", list(usual))
    shapes: dict[str, Callable[[Any], Any]] = {
        "methods": partial(_shape_method, datasets=datasets),
        "datasets": partial(_shape_dataset, datasets=datasets),
        "backbones": partial(_shape_backbone, datasets=datasets),
    }
    for key, shape in shapes.items():
        if isinstance(grid.get(key), list):
            grid[key] = [shape(item) for item in grid[key]]
    return grid


def _shape_method(value: Any, datasets: Mapping[str, str]) -> Any:
    named = _named(value)
    teacher = named.get("teacher") if isinstance(named, dict) else None
    if not isinstance(teacher, dict) or "backbone" not in teacher:
        return named
    return named | {"teacher": teacher | {"backbone": _shape_backbone(teacher["backbone"], datasets)}}


def _shape_dataset(value: Any, datasets: Mapping[str, str]) -> Any:
    named = _named(value)
    if not isinstance(named, dict):
        return named
    if "name" not in named and {"source", "target"} & named.keys():
        named = {"name": PAIR, **named}
    name = named.get("name")
    known = {"name": datasets.get(name.lower(), name)} if isinstance(name, str) else {}
    return _gather(named | known, _DATASET_KEYS, "params")


def _shape_backbone(value: Any, datasets: Mapping[str, str]) -> Any:
    named = _named(value)
    if not isinstance(named, dict):
        return named
    backbone = _gather(named, _BACKBONE_KEYS, "params")
    if "pretrain" in backbone:
        backbone["pretrain"] = _shape_pretrain(backbone["pretrain"], datasets)
    return backbone


def _shape_pretrain(value: Any, datasets: Mapping[str, str]) -> Any:
    if not isinstance(value, dict):
        return value
    shapes = {"dataset": _shape_dataset, "after": _shape_pretrain}
    return value | {key: shape(value[key], datasets) for key, shape in shapes.items() if key in value}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _gather(value: dict[str, Any], own: frozenset[str], under: str) -> dict[str, Any]:
    rest = {key: item for key, item in value.items() if key not in own}
    return {key: item for key, item in value.items() if key in own} | ({under: rest} if rest else {})


def _misnamed(shaped: dict[str, Any], folder: Path, catalog: Catalog) -> Iterator[Problem]:
    """Look up every name, and check the parameters that go with it."""
    listed: set[str] = set()
    for g, grid in enumerate(_list(shaped.get("grids"))):
        if not isinstance(grid, dict):
            continue
        here: Location = ("grids", g)
        yield from _check_options(grid, here, catalog)
        yield from _check_shots(grid, here, catalog)
        for m, method in enumerate(_mappings(grid.get("methods"))):
            listed.add(str(method.get("name")))
            yield from _check_method(method, (*here, "methods", m), "name", catalog)
            yield from _check_taught(method, (*here, "methods", m), folder, catalog)
        for d, dataset in enumerate(_mappings(grid.get("datasets"))):
            yield from _check_dataset(dataset, (*here, "datasets", d), catalog)
            yield from _check_paired(dataset, grid, (*here, "datasets", d), catalog)
        for b, backbone in enumerate(_mappings(grid.get("backbones"))):
            yield from _check_backbone(backbone, (*here, "backbones", b), folder, catalog)
    if not listed or not listed.issubset(catalog.methods):
        return  # what follows would only repeat that a method is misnamed
    baseline = shaped.get("baseline")
    if isinstance(baseline, str) and baseline.partition("(")[0] not in listed:
        yield Problem(("baseline",), f"baseline {baseline!r}: no grid lists it", nearest(baseline, listed))
    yield from _check_search(shaped.get("search"))
    yield from _check_space(shaped.get("search"), listed, catalog)


def _check_options(grid: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    name = grid.get("protocol")
    if not isinstance(name, str):
        return
    if name not in catalog.protocols:
        yield Problem((*here, "protocol"), f"unknown protocol {name!r}", nearest(name, catalog.protocols))
        return
    settings = catalog.declare("protocols", name).settings
    _, problems = check(settings, grid.get("options", {}), here, _GRID_KEYS)
    for problem in problems:
        owner = next((o for o in catalog.protocols if o != name and _knows(o, problem, here, catalog)), None)
        hint = f"{owner} takes it, {name} does not" if owner else problem.hint
        yield Problem(problem.where, problem.what, hint)


def _knows(protocol: str, problem: Problem, here: Location, catalog: Catalog) -> bool:
    if not problem.what.startswith("unknown key") or len(problem.where) != len(here) + 1:
        return False
    return problem.where[-1] in catalog.declare("protocols", protocol).settings.model_fields


def _protocol(grid: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return the constants of a grid's protocol, none where there is no such protocol."""
    name = str(grid.get("protocol"))
    return catalog.declare("protocols", name).constants if name in catalog.protocols else {}


def _check_shots(grid: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    least = _protocol(grid, catalog).get("LEAST_SHOTS", 1)
    for position, value in enumerate(_list(grid.get("shots"))):
        try:
            check_shots(value, least)
        except ValueError as error:
            yield Problem((*here, "shots", position), f"shots: {error}")


def _check_paired(dataset: dict[str, Any], grid: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    """Check that a dataset has a source and a target where the protocol needs them, and says so in one way only."""
    name, pairs = dataset.get("name"), dataset.get("pairs")
    if name == PAIR and pairs is not None:
        yield Problem(
            (*here, "pairs"), "pairs: what has a source and a target is one pair", "give the one or the other"
        )
    if name != PAIR and name in catalog.datasets and pairs is None and _protocol(grid, catalog).get("PAIRS"):
        what = f"{grid['protocol']} needs a source and a target, but {name} is one dataset"
        hint = "write {source: A, target: B}, or add pairs: all for each two of its domains"
        yield Problem((*here, "name"), what, hint)


def _check_method(method: dict[str, Any], here: Location, key: str, catalog: Catalog) -> Iterator[Problem]:
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


def _check_taught(method: dict[str, Any], here: Location, folder: Path, catalog: Catalog) -> Iterator[Problem]:
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
    chosen = {"method": TeacherSpec.model_fields["method"].default} | teacher
    yield from _check_method(chosen, here, "method", catalog)
    if chosen["method"] in catalog.methods and chosen["method"] not in catalog.teachers():
        hint = nearest(chosen["method"], catalog.teachers())
        yield Problem((*here, "method"), f"{chosen['method']} cannot train a teacher", hint)
    if isinstance(teacher.get("backbone"), dict):
        yield from _check_backbone(teacher["backbone"], (*here, "backbone"), folder, catalog)


def _check_dataset(dataset: dict[str, Any], here: Location, catalog: Catalog) -> Iterator[Problem]:
    name, params = dataset.get("name"), dataset.get("params", {})
    if not isinstance(name, str):
        return
    if name not in catalog.datasets:
        yield Problem((*here, "name"), f"unknown dataset {name!r}", nearest(name, catalog.datasets))
        return
    try:
        catalog.validate_dataset(name, dict(params))
    except UserError as error:
        yield Problem(_culprit(error, params, here), error.message, error.hint)


def _check_backbone(backbone: dict[str, Any], here: Location, folder: Path, catalog: Catalog) -> Iterator[Problem]:
    pretrain, weights = backbone.get("pretrain"), backbone.get("weights", "random")
    recipe: dict[str, Any] = {"kind": "random"}
    named = weights if isinstance(weights, dict) else {weights: "DEFAULT"} if weights in PUBLISHERS else {}
    recipe |= next(({"kind": kind, "name": named[kind]} for kind in PUBLISHERS if isinstance(named.get(kind), str)), {})
    if isinstance(named.get("file"), str):
        file = folder / Path(named["file"]).expanduser()
        if not file.is_file():
            yield Problem((*here, "weights", "file"), f"no weights file {named['file']!r}", f"looked for {file}")
    name, params = backbone.get("name"), backbone.get("params", {})
    if not isinstance(name, str):
        return
    if name not in catalog.backbones and not name.startswith(catalog.backbone_prefixes):
        yield Problem((*here, "name"), f"unknown backbone {name!r}", nearest(name, catalog.backbones))
        return
    modality = ""
    try:
        modality = catalog.describe_backbone(name, dict(params), recipe).modality
    except UserError as error:
        of_weights = "name" in recipe and repr(recipe["name"]) in error.message
        where = (*here, "weights") if of_weights else _culprit(error, {"name": name, **params}, here)
        yield Problem(where, error.message, error.hint)
    if isinstance(pretrain, dict):
        yield from _check_pretrain(pretrain, (*here, "pretrain"), modality, catalog)


def _check_pretrain(pretrain: dict[str, Any], here: Location, modality: str, catalog: Catalog) -> Iterator[Problem]:
    """Check a pre-training run and those before it; ``modality`` is the backbone's, empty where it is unknown."""
    yield from _check_method(pretrain, here, "method", catalog)
    name = pretrain.get("method")
    if name in catalog.methods:
        declared = catalog.declare("methods", name)
        if "pretrain" not in declared.roles:
            yield Problem((*here, "method"), f"{name} does not pre-train", nearest(name, catalog.declared("pretrain")))
        elif modality and modality not in declared.modalities:
            fitting = [n for n in catalog.declared("pretrain") if modality in catalog.declare("methods", n).modalities]
            what = f"{name} does not pre-train {modality} backbones"
            yield Problem((*here, "method"), what, f"valid: {', '.join(fitting)}")
    if isinstance(pretrain.get("dataset"), dict):
        if pretrain["dataset"].get("pairs") is not None:
            yield Problem((*here, "dataset", "pairs"), "pairs: pre-training reads one dataset", "leave pairs out")
        yield from _check_dataset(pretrain["dataset"], (*here, "dataset"), catalog)
    if isinstance(pretrain.get("after"), dict):
        yield from _check_pretrain(pretrain["after"], (*here, "after"), modality, catalog)


def _check_search(search: Any) -> Iterator[Problem]:
    wanted = search if isinstance(search, dict) else {}
    if (wanted.get("scheduler"), wanted.get("searcher")) == ("pbt", "optuna"):
        what = "searcher: optuna learns from one trial after another, and scheduler: pbt starts with many at once"
        yield Problem(("search", "searcher"), what, "valid: random, grid")


def _check_space(search: Any, listed: set[str], catalog: Catalog) -> Iterator[Problem]:
    space = search.get("space") if isinstance(search, dict) else None
    for name, params in space.items() if isinstance(space, dict) else ():
        here: Location = ("search", "space", name)
        if name not in listed:
            yield Problem(here, f"no grid lists a method {name!r}", nearest(name, listed))
            continue
        settings = catalog.declare("methods", name).settings
        for key, wanted in params.items() if isinstance(params, dict) else ():
            if key not in settings.model_fields:
                yield Problem((*here, key), f"{name} has no parameter {key!r}", nearest(key, settings.model_fields))
                continue
            distribution, _ = check(Distribution, wanted)
            for value in distribution.probes if distribution else ():
                problems = check(settings, {key: value}, here)[1]
                yield from (p for p in problems if (*here, key) == p.where[: len(here) + 1])
            for other, values in distribution.when.items() if distribution else ():
                where: Location = (*here, key, "when", other)
                if other not in settings.model_fields or other == key:
                    hint = nearest(other, set(settings.model_fields) - {key})
                    yield Problem(where, f"{name} has no other parameter {other!r}", hint)
                    continue
                problems = [p for value in values for p in check(settings, {other: value}, here)[1]]
                yield from (
                    Problem(where, p.what, p.hint) for p in problems if (*here, other) == p.where[: len(here) + 1]
                )


def _culprit(error: UserError, params: dict[str, Any], here: Location) -> Location:
    """Return where the parameter stands that the message quotes, else where the whole thing stands."""
    return next(((*here, key) for key in params if repr(key) in error.message), here)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: Any) -> Iterable[dict[str, Any]]:
    return (item if isinstance(item, dict) else {} for item in _list(value))
