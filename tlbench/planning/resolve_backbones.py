"""Resolves the backbones of a suite: reads their weights files, and gives each a label that no other has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tlbench.backbones.catalog import check_weights, tokenizer
from tlbench.backbones.damaged_weights import check_content
from tlbench.backbones.weights_contents import read_contents
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.description import Execution
from tlbench.core.errors import UserError, together
from tlbench.core.hashing import sha256
from tlbench.core.paths import expand
from tlbench.store.artifacts import Artifacts
from tlbench.suite.catalog import Catalog
from tlbench.suite.resolve import WeightsFile, choose_backbone
from tlbench.suite.spec import BackboneSpec, Suite
from tlbench.suite.yaml_source import Source


def resolve_backbones(
    suite: Suite, source: Source, datasets: Mapping[str, DatasetChoice], catalog: Catalog, artifacts: Artifacts
) -> dict[str, BackboneChoice]:
    """Return the backbones of a suite, by ``BackboneSpec.key``.

    Args:
        suite: The suite.
        source: Its text, for the lines in messages; relative paths start from its folder.
        datasets: Its opened datasets by ``DatasetSpec.key``.
        catalog: Describes the architectures.
        artifacts: Where it is noted that files of weights fit.

    Raises:
        UserError: Weights files cannot be read or do not fit, with file and line of each; or a pre-training run cannot
            read its corpus.
    """
    execution, folder = suite.resources.execution, Path(source.name).absolute().parent
    errors: list[UserError] = []
    choices: dict[str, BackboneChoice] = {}
    for key, spec in suite.backbones.items():
        try:
            choices[key] = _resolve(spec, folder, datasets, catalog, execution)
            _check_file(choices[key], artifacts)
        except UserError as error:
            errors.append(error.at(_line(suite, source, spec)))
    if errors:
        raise together(errors)
    keys_by_label: dict[str, set[str]] = {}
    for choice in choices.values():
        keys_by_label.setdefault(choice.info.label, set()).add(choice.key)
    ambiguous = {label for label, keys in keys_by_label.items() if len(keys) > 1}
    return {
        key: _with_key_in_label(choice) if choice.info.label in ambiguous else choice for key, choice in choices.items()
    }


def _with_key_in_label(choice: BackboneChoice) -> BackboneChoice:
    return replace(choice, info=replace(choice.info, label=f"{choice.info.label}#{choice.key[:6]}"))


def _resolve(
    spec: BackboneSpec, folder: Path, datasets: Mapping[str, DatasetChoice], catalog: Catalog, execution: Execution
) -> BackboneChoice:
    if spec.weights.kind != "file":
        return choose_backbone(spec, datasets, catalog, execution=execution)
    file = (folder / expand(spec.weights.path, folder)).resolve()
    check_content(file)
    found = WeightsFile(str(file), sha256(file), read_contents(file))
    choice = choose_backbone(spec, datasets, catalog, found, execution)
    if choice.info.modality == "text":
        read_tokenizer(file, tokenizer(choice.info))  # a file without one is refused here, and not after hours
    return choice


def _check_file(choice: BackboneChoice, artifacts: Artifacts) -> None:
    """Refuse a file of weights that does not fit, and not after hours either."""
    start = choice
    while start.pretrain is not None:
        start = start.pretrain.start
    if start.weights_file is not None:
        sha256 = start.info.recipe["weights"]["sha256"]
        check_weights(start.info, Path(start.weights_file), sha256, artifacts)


def _line(suite: Suite, source: Source, spec: BackboneSpec) -> str:
    """Return file and line of the weights of a backbone: of the first grid that lists it, or has it as a teacher."""
    for number, grid in enumerate(suite.grids):
        for place, listed in enumerate(grid.backbones):
            if spec.key in {listed.key, *(run.key for run in suite.runs_of(listed, grid))}:
                return source.at(("grids", number, "backbones", place, "weights", "file"))
        for place, method in enumerate(grid.methods):
            if method.teacher is not None and method.teacher.backbone.key == spec.key:
                return source.at(("grids", number, "methods", place, "teacher", "backbone", "weights", "file"))
    return ""
