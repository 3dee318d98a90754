"""Resolves the backbones of a suite: reads their weights files, and gives each a label that no other has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tlbench.backbones.weights_contents import read_contents
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.description import Execution
from tlbench.core.hashing import sha256
from tlbench.core.paths import expand
from tlbench.suite.catalog import Catalog
from tlbench.suite.resolve import WeightsFile, choose_backbone
from tlbench.suite.spec import BackboneSpec, Suite


def resolve_backbones(
    suite: Suite, folder: Path, datasets: Mapping[str, DatasetChoice], catalog: Catalog
) -> dict[str, BackboneChoice]:
    """Return the backbones of a suite, by ``BackboneSpec.key``.

    Args:
        suite: The suite.
        folder: Where relative paths start.
        datasets: Its opened datasets by ``DatasetSpec.key``.
        catalog: Describes the architectures.

    Raises:
        UserError: A weights file cannot be read, or a pre-training run cannot read its corpus.
    """
    execution = suite.resources.execution
    choices = {key: _resolve(spec, folder, datasets, catalog, execution) for key, spec in suite.backbones.items()}
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
    found = WeightsFile(str(file), sha256(file), read_contents(file))
    choice = choose_backbone(spec, datasets, catalog, found, execution)
    if choice.info.modality == "text":
        read_tokenizer(file)  # a file without one is refused here, and not after hours
    return choice
