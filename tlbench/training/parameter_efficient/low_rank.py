"""Low-rank updates of a frozen backbone: put in, merged into its weights, kept, and taken out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError
from tlbench.training.parameter_efficient.low_rank_layers import LowRank, LowRankDesign, WeightBlocks, updated_class

_OWN = ("lora_a", "lora_b")


@dataclass(frozen=True)
class AddedUpdates:
    """What :func:`add_low_rank` put in.

    Attributes:
        parameters: Every A and B, two a layer.
        read: Names of the layers that are never called, whose weights other code reads: dropout cannot act there.
        idle: Names of the layers left as they were, since no feature depends on them.
    """

    parameters: list[nn.Parameter]
    read: list[str]
    idle: list[str]


def add_low_rank(
    backbone: Backbone, sites: Mapping[str, WeightBlocks], design: LowRankDesign, x: Tensor, generator: torch.Generator
) -> AddedUpdates:
    """Put low-rank updates into layers of a backbone, in place, and freeze everything else in it.

    A is uniform in +-1 / sqrt(columns) and B zero, so that the backbone computes what it did. What does not act on a
    forward pass is left as it was.

    Args:
        backbone: The backbone.
        sites: Names of layers of its body, and which of their rows to update.
        design: What the updates look like.
        x: A few raw inputs for that forward pass.
        generator: The source of A.

    Raises:
        UserError: No layer is left to update, or there are updates already.
    """
    if any(True for _ in _layers(backbone)):
        raise UserError(f"{backbone.info.label}: has low-rank updates already", "remove them first")
    backbone.requires_grad_(False)
    for name, rows in sites.items():
        layer = backbone.body.get_submodule(name)
        layer.__class__ = updated_class(type(layer))
        layer.design, layer.rows = design, rows
        own = layer._parameters[layer.reads]
        height, columns = own.flatten(1).shape
        count = len(rows.chosen)
        a = torch.empty(count * design.rank, columns)
        a.uniform_(-(columns**-0.5), columns**-0.5, generator=generator)
        layer.register_parameter("lora_a", nn.Parameter(a.to(own)))
        layer.register_parameter("lora_b", nn.Parameter(own.new_zeros(height // rows.parts * count, design.rank)))
    called, idle = _look(backbone, x)
    for name in idle:
        _remove(backbone.body.get_submodule(name))
    kept = dict(_layers(backbone))
    if not kept:
        raise UserError(f"{backbone.info.label}: no layer for low-rank updates", "choose other targets")
    parameters = [p for layer in kept.values() for p in (layer.lora_a, layer.lora_b)]
    return AddedUpdates(parameters, [name for name in kept if name not in called], idle)


@torch.no_grad()
def merge_low_rank(backbone: Backbone) -> None:
    """Add all updates to weights, so that predicting costs what it does without them.

    The sums are kept as buffers that are no part of the state; they no longer follow A and B.
    """
    for _, layer in _layers(backbone):
        layer.register_buffer("merged", layer.weight_now().clone(), persistent=False)


def unmerge_low_rank(backbone: Backbone) -> None:
    """Undo :func:`merge_low_rank`: base weights, A and B are what they were, to the last bit."""
    for _, layer in _layers(backbone):
        layer._buffers.pop("merged", None)
        layer._non_persistent_buffers_set.discard("merged")


def remove_low_rank(backbone: Backbone) -> None:
    """Take all updates out of a backbone again, in place; its weights are the base's."""
    unmerge_low_rank(backbone)
    for _, layer in list(_layers(backbone)):
        _remove(layer)


def low_rank_state(backbone: Backbone) -> dict[str, Tensor]:
    """Return copies of every A and B by name: all that must be kept besides the backbone that was given."""
    return {f"{name}.{key}": getattr(layer, key).detach().clone() for name, layer in _layers(backbone) for key in _OWN}


@torch.no_grad()
def load_low_rank_state(backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    """Put A and B into a backbone with the same updates; it is not merged afterwards.

    Raises:
        ValueError: Names or shapes are not those of the backbone's updates.
    """
    own = {f"{name}.{key}": getattr(layer, key) for name, layer in _layers(backbone) for key in _OWN}
    if {name: tensor.shape for name, tensor in own.items()} != {name: tensor.shape for name, tensor in state.items()}:
        odd = sorted(own.keys() ^ state.keys())
        raise ValueError(f"not the updates of this backbone: {odd[:5] or 'other shapes'}")
    unmerge_low_rank(backbone)
    for name, tensor in own.items():
        tensor.copy_(state[name])


def _remove(layer: Any) -> None:
    layer.__class__ = layer.plain
    del layer.lora_a, layer.lora_b, layer.design, layer.rows


def _layers(backbone: Backbone) -> Iterator[tuple[str, Any]]:
    return ((name, module) for name, module in backbone.body.named_modules() if isinstance(module, LowRank))


@torch.enable_grad()
def _look(backbone: Backbone, x: Tensor) -> tuple[set[str], list[str]]:
    """Return the names of the updated layers that a forward pass calls, and of those that it does not depend on."""
    layers = dict(_layers(backbone))
    called: set[str] = set()
    handles = [
        layer.register_forward_pre_hook(lambda module, args, name=name: called.add(name))
        for name, layer in layers.items()
    ]
    was_training = backbone.training
    try:
        features = backbone.eval()(x.to(next(backbone.parameters()).device))
    finally:
        backbone.train(was_training)
        for handle in handles:
            handle.remove()
    parameters = [layer.lora_b for layer in layers.values()]
    gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True) if features.requires_grad else ()
    reached = [name for name, gradient in zip(layers, gradients, strict=False) if gradient is not None]
    return called, [name for name in layers if name not in reached]
