"""LoRA: train low-rank updates of frozen weights, W + alpha / r * B A, together with the head.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685, section 4.1. B starts at zero,
so that training starts from the backbone exactly; after training the updates are added to the weights, and a
prediction costs what it does without them. Biases, normalisation and its running statistics stay as they are.
A convolution is updated as the matrix of its output channels by its input channels times kernel positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.core.errors import UserError, nearest
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import train_added_parameters
from tlbench.training.parameter_efficient.low_rank import add_low_rank, merge_low_rank
from tlbench.training.parameter_efficient.low_rank_layers import LowRankDesign, WeightBlocks, supports_low_rank
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 1e-2, "rank": 4, "head_multiplier": 1.0}


class Config(FineTuningConfig):
    """Parameters of low-rank adaptation."""

    lr: float = tunable(1e-3, log_uniform(1e-4, 1e-2), "rate of the updates", gt=0)
    rank: int = tunable(8, choice(2, 4, 8, 16, 32), "rank r of each update", lasting=True, ge=1)
    alpha_over_rank: float = tunable(1.0, choice(1.0, 2.0), "alpha / r, the factor of B A", lasting=True, gt=0)
    rslora: bool = Field(False, description="factor alpha / sqrt(r) instead (arXiv:2312.03732)")
    dropout: float = tunable(0.0, choice(0.0, 0.05, 0.1), "of what an update sees of its layer's input", ge=0, lt=1)
    targets: Literal["qv", "attention", "all_linear", "all"] | Annotated[tuple[str, ...], Field(min_length=1)] = (
        tunable(
            "qv",
            choice("qv", "attention", "all_linear"),
            "layers to update: query and value, all of the attention, all linear layers, convolutions too; or patterns "
            "for the ends of module names",
            lasting=True,
        )
    )
    batch_norm: BatchNorm = Field("frozen", description="running statistics stay: nothing of the norms is trained")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train updates and a head on the frozen backbone, and merge them."""
    sites, note = choose_layers(backbone, cfg.targets)
    design = LowRankDesign(cfg.rank, cfg.alpha_over_rank * cfg.rank, cfg.dropout, cfg.rslora)
    example = torch.from_numpy(np.ascontiguousarray(task.train.x[:2]))
    added = add_low_rank(backbone, sites, design, example, ctx.generator("lora"))
    if added.read and cfg.dropout:
        note += [f"no dropout before {len(added.read)} of the updates, whose layers are read and not called"]
    if added.idle:
        note += [f"not updated, since no feature depends on them: {', '.join(added.idle)}"]
    ctx.notes += note
    predictor = train_added_parameters(
        Classifier(backbone, task.info.classes), added.parameters, cfg.lr, task, cfg, ctx
    )
    merge_low_rank(backbone)
    return predictor


def choose_layers(backbone: Backbone, targets: str | tuple[str, ...]) -> tuple[dict[str, WeightBlocks], list[str]]:
    """Return which rows of which layers to update, by name, and notes for the record.

    A preset updates query, key and value each by a pair of its own, whether the network packs them into one layer or
    not. Where a network has nothing that a preset names, the next wider one stands in: all of an attention whose
    parts are not told apart, all linear layers and convolutions of a network without attention. A pattern takes each
    layer as one matrix.

    Args:
        backbone: The backbone.
        targets: A preset; or patterns as of :mod:`fnmatch`, each for a module's name or the end of it after a dot.

    Raises:
        UserError: A pattern matches no layer, or two match the same one.
    """
    layers = {name: layer for name, layer in backbone.body.named_modules() if supports_low_rank(layer)}
    if not isinstance(targets, str):
        return _matching(layers, targets, backbone.info.label), []
    sites: dict[str, WeightBlocks] = {}
    notes: list[str] = []
    if targets in ("qv", "attention"):
        for pair in backbone.sublayers:
            inside = {name: at for name, at in layers.items() if f"{name}.".startswith(f"{pair.attention}.")}
            found = {name: _rows(backbone, name, at, "qv") for name, at in inside.items()} if targets == "qv" else {}
            chosen = {name: rows for name, rows in found.items() if rows is not None}
            if targets == "qv" and not chosen:
                notes.append(f"{pair.attention}: query and value are not told apart, so all of it is updated")
            sites |= chosen or _whole(backbone, inside)
    elif targets == "all_linear":
        sites = _whole(backbone, {name: at for name, at in layers.items() if not isinstance(at, nn.Conv2d)})
    if targets != "all" and not sites:
        notes.append(f"nothing for targets={targets}: all linear layers and convolutions are updated")
    return sites or _whole(backbone, layers), notes


_ROLES = {"qkv": "qkv", "kv": "kv", "qk": "qk", "q": "q", "k": "k", "v": "v", "query": "q", "key": "k", "value": "v"}


def _whole(backbone: Backbone, layers: Mapping[str, nn.Module]) -> dict[str, WeightBlocks]:
    return {name: _rows(backbone, name, layer, "qkv") or WeightBlocks() for name, layer in layers.items()}


def _rows(backbone: Backbone, name: str, layer: nn.Module, wanted: str) -> WeightBlocks | None:
    """Return the rows of a layer that make some of query, key and value; None if none do, or nobody can tell."""
    parent, _, own = name.rpartition(".")
    roles = "qkv" if isinstance(layer, nn.MultiheadAttention) else ""
    if isinstance(layer, nn.Linear):
        roles = _ROLES.get(re.sub(r"^(to_|w)|(_proj|_lin)$", "", own.lower()), "")
        attention = backbone.body.get_submodule(parent)
        by_head = getattr(attention, "head_first", False) or hasattr(attention, "key_dim")
        if len(roles) > 1 and (by_head or layer.out_features != len(roles) * layer.in_features):
            return WeightBlocks()  # packed, but not part by part: some networks do so head by head
    chosen = tuple(part for part, role in enumerate(roles) if role in wanted)
    return WeightBlocks(len(roles), chosen) if chosen else None


def _matching(layers: Mapping[str, nn.Module], patterns: tuple[str, ...], label: str) -> dict[str, WeightBlocks]:
    matched: dict[str, str] = {}
    for pattern in patterns:
        found = [name for name in layers if fnmatchcase(f".{name}", f"*.{pattern}")]
        if not found:
            ends = {".".join(name.split(".")[-depth:]) for name in layers for depth in range(1, pattern.count(".") + 2)}
            what = "no linear layer, convolution or packed attention"
            raise UserError(f"{label}: {what} matches the target {pattern!r}", nearest(pattern, ends))
        twice = next((name for name in found if name in matched), None)
        if twice is not None:
            raise UserError(
                f"{label}: the targets {matched[twice]!r} and {pattern!r} both match {twice}", "name it once"
            )
        matched |= dict.fromkeys(found, pattern)
    return {name: WeightBlocks() for name in layers if name in matched}
