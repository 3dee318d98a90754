"""LoRA: train low-rank updates of frozen weights, W + alpha / r * B A, together with the head.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, section 4.1. B is initialised
to zero, so that training starts from exactly the backbone's function; after training the updates are added to the
weights, and a prediction costs as much as without them. Biases, normalisation and running statistics do not change. A
convolution is updated as the matrix of its output channels by its input channels times kernel positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.core.errors import UserError, nearest
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import train_added_parameters
from tlbench.training.parameter_efficient.example_forward import example_inputs
from tlbench.training.parameter_efficient.low_rank import add_low_rank, merge_low_rank
from tlbench.training.parameter_efficient.low_rank_layers import LowRankDesign, WeightBlocks, supports_low_rank
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 1e-2, "rank": 4, "head_multiplier": 1.0}


class Config(FineTuningConfig):
    """Parameters of low-rank adaptation."""

    lr: float | None = tunable(None, log_uniform(1e-4, 1e-2), "learning rate of the updates", gt=0)
    rank: int = tunable(8, choice(2, 4, 8, 16, 32), "rank r of each update", lasting=True, ge=1)
    alpha_over_rank: float = tunable(1.0, choice(1.0, 2.0), "alpha / r, the factor of B A", lasting=True, gt=0)
    rslora: bool = Field(False, description="factor alpha / sqrt(r) instead (arXiv:2312.03732)")
    dropout: float = tunable(0.0, choice(0.0, 0.05, 0.1), "dropout of the inputs of an update", ge=0, lt=1)
    targets: Literal["qv", "attention", "all_linear", "all"] | Annotated[tuple[str, ...], Field(min_length=1)] = (
        tunable(
            "qv",
            choice("qv", "attention", "all_linear"),
            "layers to update: query and value, all of the attention, all linear layers, convolutions too; or patterns "
            "for the ends of module names",
            lasting=True,
        )
    )
    batch_norm: BatchNorm = Field(
        "frozen", description="running statistics are not updated, as normalisation is not trained"
    )


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train updates and a head with the backbone frozen, and merge the updates."""
    layers, notes = choose_layers(backbone, cfg.targets)
    design = LowRankDesign(cfg.rank, cfg.alpha_over_rank * cfg.rank, cfg.dropout, cfg.rslora)
    added = add_low_rank(backbone, layers, design, example_inputs(task.train), ctx.generator("lora"))
    if added.read and cfg.dropout:
        notes += [f"no dropout before {len(added.read)} of the updates, whose layers are read and not called"]
    if added.unused:
        notes += [f"not updated, since no feature depends on them: {', '.join(added.unused)}"]
    ctx.notes += notes
    predictor = train_added_parameters(
        Classifier(backbone, task.info.classes), added.parameters, "low_rank", task, cfg, ctx
    )
    merge_low_rank(backbone)
    return predictor


def choose_layers(backbone: Backbone, targets: str | tuple[str, ...]) -> tuple[dict[str, WeightBlocks], list[str]]:
    """Return the layers to update with the blocks of their weights, by name, and notes for the record.

    A preset updates query, key and value each by a pair A, B of its own, whether the network packs them into one layer
    or not. Where a network has nothing that a preset names, a wider one is used: the whole attention if its query, key
    and value cannot be identified, all linear layers and convolutions in a network without attention. A pattern updates
    the whole weight of each layer.

    Args:
        backbone: The backbone.
        targets: A preset; or patterns of :mod:`fnmatch`, each for a module's name or the end of it after a dot.

    Raises:
        UserError: A pattern matches no layer, or two match the same one.
    """
    layers = {name: layer for name, layer in backbone.body.named_modules() if supports_low_rank(layer)}
    if not isinstance(targets, str):
        return _matching(layers, targets, backbone.info.label), []
    chosen: dict[str, WeightBlocks] = {}
    notes: list[str] = []
    if targets in ("qv", "attention"):
        for pair in backbone.sublayers:
            inside = {name: layer for name, layer in layers.items() if f"{name}.".startswith(f"{pair.attention}.")}
            query_value: dict[str, WeightBlocks] = {}
            if targets == "qv":
                blocks = {name: _blocks(backbone, name, layer, "qv") for name, layer in inside.items()}
                query_value = {name: each for name, each in blocks.items() if each is not None}
            if targets == "qv" and not query_value:
                notes.append(f"{pair.attention}: query and value are not told apart, so all of it is updated")
            chosen |= query_value or _whole(backbone, inside)
    elif targets == "all_linear":
        chosen = _whole(backbone, {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Conv2d)})
    if targets != "all" and not chosen:
        notes.append(f"nothing for targets={targets}: all linear layers and convolutions are updated")
    return chosen or _whole(backbone, layers), notes


_ROLES = {"qkv": "qkv", "kv": "kv", "qk": "qk", "q": "q", "k": "k", "v": "v", "query": "q", "key": "k", "value": "v"}


def _whole(backbone: Backbone, layers: Mapping[str, nn.Module]) -> dict[str, WeightBlocks]:
    return {name: _blocks(backbone, name, layer, "qkv") or WeightBlocks() for name, layer in layers.items()}


def _blocks(backbone: Backbone, name: str, layer: nn.Module, wanted: str) -> WeightBlocks | None:
    """Return the blocks of a layer's weight that compute the wanted ones of query (q), key (k) and value (v).

    None if the layer computes none of them, as far as its name tells.
    """
    parent, _, own = name.rpartition(".")
    roles = "qkv" if isinstance(layer, nn.MultiheadAttention) else ""
    if isinstance(layer, nn.Linear):
        roles = _ROLES.get(re.sub(r"^(to_|w)|(_proj|_lin)$", "", own.lower()), "")
        attention = backbone.body.get_submodule(parent)
        by_head = getattr(attention, "head_first", False) or hasattr(attention, "key_dim")
        if len(roles) > 1 and (by_head or layer.out_features != len(roles) * layer.in_features):
            return WeightBlocks()  # packed, but not in three blocks: some networks pack head by head
    chosen = tuple(part for part, role in enumerate(roles) if role in wanted)
    return WeightBlocks(len(roles), chosen) if chosen else None


def _matching(layers: Mapping[str, nn.Module], patterns: tuple[str, ...], label: str) -> dict[str, WeightBlocks]:
    matched: dict[str, str] = {}
    for pattern in patterns:
        matches = [name for name in layers if fnmatchcase(f".{name}", f"*.{pattern}")]
        if not matches:
            ends = {".".join(name.split(".")[-depth:]) for name in layers for depth in range(1, pattern.count(".") + 2)}
            what = "no linear layer, convolution or packed attention"
            raise UserError(f"{label}: {what} matches the target {pattern!r}", nearest(pattern, ends))
        twice = next((name for name in matches if name in matched), None)
        if twice is not None:
            raise UserError(
                f"{label}: the targets {matched[twice]!r} and {pattern!r} both match {twice}", "name it once"
            )
        matched |= dict.fromkeys(matches, pattern)
    return {name: WeightBlocks() for name in layers if name in matched}
