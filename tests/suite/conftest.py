"""A small world of fake methods, protocols, datasets and backbones, for suites that need no data and no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.config import MethodConfig, Settings, log_uniform, tunable
from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import digest
from tlbench.core.info import BackboneInfo, DatasetInfo, TaskInfo
from tlbench.plugins.registry import Declaration, MethodConstants, ProtocolConstants
from tlbench.suite.catalog import Catalog, JoinedDataset
from tlbench.suite.expand import expand
from tlbench.suite.load import loads
from tlbench.suite.plan import Plan
from tlbench.suite.resolve import choose_backbone
from tlbench.suite.spec import Suite


class ProbeConfig(MethodConfig):
    c: float = tunable(1.0, log_uniform(1e-4, 1e2), gt=0)


class LoraConfig(MethodConfig):
    rank: int = Field(8, ge=1)
    alpha: float = 8.0
    targets: tuple[str, ...] = ("conv",)
    bias: bool = False
    mode: Literal["linear", "all"] = "linear"


class PretrainConfig(MethodConfig):
    epochs: int = Field(10, ge=1)


class FinetuneConfig(MethodConfig):
    epochs: int = Field(40, ge=1)


class DistillationConfig(MethodConfig):
    temperature: float = 4.0


class NoOptions(Settings):
    pass


class EpisodeOptions(Settings):
    ways: int = Field(5, ge=2)
    queries: int = Field(15, ge=1)
    episodes: int = Field(1000, ge=1)


def _too_few(info: TaskInfo) -> str | None:
    least = min(info.dataset.counts["train"])
    if info.shots != "full" and info.shots > least:
        return f"class {info.dataset.classes[info.dataset.counts['train'].index(least)]} has only {least} examples"
    return None


def _no_text(info: TaskInfo, backbone: BackboneInfo, cfg: LoraConfig) -> str | None:
    return f"rank {cfg.rank} is more than 64" if cfg.rank > 64 else None


def declare_fake(name: str, settings: type[Settings], **facts: Any) -> Declaration[Any]:
    """Return a declaration as the registry would read it from a file."""
    anything = {"protocols": (), "modalities": ("image", "text"), "roles": ("fit",), "skip": None}
    constants = facts.pop("constants", {})
    protocol = "VERSION" in constants
    given = anything | facts
    given["constants"] = ProtocolConstants(**constants) if protocol else MethodConstants(PROTOCOLS=(), **constants)
    return Declaration(
        name=name,
        module=name,
        path=Path(__file__),
        summary="",
        paper="",
        settings=settings,
        read_code_mark=lambda: digest(name),
        **given,
    )


def _random_only(info: TaskInfo, backbone: BackboneInfo, cfg: FinetuneConfig) -> str | None:
    return None if backbone.weights == "random" else "list the architecture with random weights"


METHODS = {
    "distillation": declare_fake(
        "distillation", DistillationConfig, protocols=("classification", "episodic"), constants={"TEACHER": True}
    ),
    "finetune": declare_fake("finetune", FinetuneConfig, protocols=("classification",)),
    "from_scratch": declare_fake("from_scratch", FinetuneConfig, protocols=("classification",), skip=_random_only),
    "linear_probe": declare_fake(
        "linear_probe", ProbeConfig, protocols=("classification",), constants={"FROZEN_BACKBONE": True}
    ),
    "lora": declare_fake("lora", LoraConfig, protocols=("classification",), skip=_no_text),
    "mlm": declare_fake(
        "mlm", PretrainConfig, protocols=("classification",), roles=("fit", "pretrain"), modalities=("text",)
    ),
    "protonet": declare_fake("protonet", MethodConfig, protocols=("episodic",)),
    "simclr": declare_fake("simclr", PretrainConfig, roles=("pretrain",), modalities=("image",)),
    "source_only": declare_fake("source_only", MethodConfig, protocols=("adaptation",)),
    "supervised": declare_fake("supervised", PretrainConfig, roles=("pretrain",)),
}
PAIRED = {"VERSION": 1, "PAIRS": True, "LEAST_SHOTS": 0, "USUAL_SHOTS": (0,)}
PROTOCOLS = {
    "adaptation": declare_fake("adaptation", NoOptions, constants=PAIRED),
    "classification": declare_fake("classification", NoOptions, constants={"VERSION": 1}, skip=_too_few),
    "episodic": declare_fake("episodic", EpisodeOptions, constants={"VERSION": 2}),
}
DATASETS = {"digits": "image", "glyphs": "image", "folder": "image", "pair": "image", "pydocs": "text"}
BACKBONES = {"resnet18": "image", "conv4": "image", "encoder": "text"}


def _validate_dataset(name: str, params: dict[str, Any]) -> dict[str, Any]:
    for key in params:
        if (name, key) not in (("folder", "path"), ("pair", "source"), ("pair", "target")):
            raise UserError(f"dataset {name} has no parameter {key!r}", nearest(key, ["path"]))
    return params


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Describe a fake backbone; its only parameter is ``width``."""
    for key in params:
        if key != "width":
            raise UserError(f"backbone {name} has no option {key!r}", nearest(key, ["width"]))
    if weights["kind"] == "torchvision" and name != "resnet18":
        raise UserError(f"torchvision has no weights for {name}")
    recipe = {"name": name, "family": "fake", "weights": weights, **params}
    modality: Any = BACKBONES[name]
    return BackboneInfo(name, "fake", modality, f"{name}/{weights['kind']}", recipe)


def opened(name: str, classes: int = 10, each: int = 30) -> DatasetChoice:
    """Return a dataset choice as if the dataset had been opened."""
    modality: Any = DATASETS[name]
    names = tuple(f"c{k}" for k in range(classes))
    info = DatasetInfo(name, modality, digest(name), names, (1, 8, 8), {"train": (each,) * classes})
    return DatasetChoice(name, {}, info)


@pytest.fixture
def catalog() -> Catalog:
    """The fake world."""
    kinds = {"methods": METHODS, "protocols": PROTOCOLS}
    return Catalog(
        datasets=tuple(DATASETS),
        backbones=tuple(BACKBONES),
        validate_dataset=_validate_dataset,
        describe_backbone=describe,
        methods=tuple(METHODS),
        protocols=tuple(PROTOCOLS),
        declare=lambda kind, name: kinds[kind][name],
        publishers=("torchvision",),
        joined_datasets={"pair": JoinedDataset(("source", "target"))},
        paired_datasets=("pair",),
    )


@pytest.fixture
def read_suite(catalog: Catalog) -> Callable[[str], Suite]:
    """Read a suite text in the fake world."""
    return lambda text: loads(text, catalog, "s.yaml")


@pytest.fixture
def resolve_suite(catalog: Catalog) -> Callable[[Suite], tuple[dict[str, DatasetChoice], dict[str, BackboneChoice]]]:
    """Open the datasets and resolve the backbones of a suite in the fake world."""

    def resolve(suite: Suite) -> tuple[dict[str, DatasetChoice], dict[str, BackboneChoice]]:
        datasets = {key: opened(spec.name) for key, spec in suite.datasets.items()}
        backbones = {key: choose_backbone(spec, datasets, catalog) for key, spec in suite.backbones.items()}
        return datasets, backbones

    return resolve


@pytest.fixture
def plan_text(catalog: Catalog, read_suite: Any, resolve_suite: Any) -> Callable[[str], Plan]:
    """Read a suite text and expand it."""

    def plan(text: str) -> Plan:
        suite = read_suite(text)
        return expand(suite, catalog, *resolve_suite(suite))

    return plan
