"""Checks a backbone of a suite: its name and options, where its weights come from, and its pre-training runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError, nearest
from tlbench.core.paths import expand
from tlbench.core.validation import Location, Problem, show
from tlbench.suite.catalog import Catalog
from tlbench.suite.check_names import check_dataset, check_method, where_quoted
from tlbench.suite.spec import Weights, read_weights


def check_backbone(backbone: dict[str, Any], here: Location, folder: Path, catalog: Catalog) -> Iterator[Problem]:
    """Check a backbone, in its normal form.

    Args:
        backbone: ``name``, ``params``, ``weights`` and ``pretrain``.
        here: Where it stands.
        folder: Where relative paths start.
        catalog: Describes the architectures and declares the methods.
    """
    weights, problem = _weights(backbone.get("weights", "random"), (*here, "weights"), folder, catalog)
    if problem is not None:
        yield problem
    name, params = backbone.get("name"), backbone.get("params", {})
    if not isinstance(name, str):
        return
    if name not in catalog.backbones and not name.startswith(catalog.backbone_prefixes):
        yield Problem((*here, "name"), f"unknown backbone {name!r}", nearest(name, catalog.backbones))
        return
    recipe = {"kind": weights.kind, "name": weights.name} if weights.name else {"kind": "random"}
    modality = ""
    try:
        modality = catalog.describe_backbone(name, dict(params), recipe).modality
    except UserError as error:
        of_weights = "name" in recipe and repr(recipe["name"]) in error.message
        where = (*here, "weights") if of_weights else where_quoted(error, {"name": name, **params}, here)
        yield Problem(where, error.message, error.hint)
    if isinstance(pretrain := backbone.get("pretrain"), dict):
        yield from _check_pretrain(pretrain, (*here, "pretrain"), modality, catalog)


def _weights(value: Any, here: Location, folder: Path, catalog: Catalog) -> tuple[Weights, Problem | None]:
    """Return the weights that a backbone asks for, random ones where something is wrong, and what is wrong."""
    try:
        weights = read_weights(value)
    except ValueError:
        weights = None
    if weights is None or weights.kind not in ("random", "file", *catalog.publishers):
        published = (f"{library}, {{{library}: NAME}}" for library in catalog.publishers)
        forms = f"{', '.join(('random', *published))} or {{file: PATH}}"
        hint = nearest(weights.kind, ("random", "file", *catalog.publishers)) if weights is not None else ""
        problem = Problem(here, f"weights: must be {forms}, not {show(value)}", hint if hint.startswith("did") else "")
        return Weights(), problem
    if weights.kind != "file":
        return weights, None
    try:
        file = folder / expand(weights.path, folder)
    except UserError as error:
        return weights, Problem((*here, "file"), error.message, error.hint)
    if not file.is_file():
        return weights, Problem((*here, "file"), f"no weights file {weights.path!r}", f"looked for {file}")
    return weights, None


def _check_pretrain(pretrain: dict[str, Any], here: Location, modality: str, catalog: Catalog) -> Iterator[Problem]:
    """Check a pre-training run and those before it; ``modality`` is the backbone's, empty where it is unknown."""
    yield from check_method(pretrain, here, "method", catalog)
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
        yield from check_dataset(pretrain["dataset"], (*here, "dataset"), catalog)
    if isinstance(pretrain.get("after"), dict):
        yield from _check_pretrain(pretrain["after"], (*here, "after"), modality, catalog)
