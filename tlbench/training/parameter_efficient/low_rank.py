"""Low-rank updates of a frozen backbone: adding, merging into the weights, storing and removing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError
from tlbench.training.forward_hooks import call_order
from tlbench.training.parameter_efficient.example_forward import example_features, influences
from tlbench.training.parameter_efficient.low_rank_layers import (
    LowRank,
    LowRankDesign,
    WeightBlocks,
    add_update,
    remove_update,
)

_OWN = ("lora_a", "lora_b")


@dataclass(frozen=True)
class AddedUpdates:
    """The result of :func:`add_low_rank`.

    Attributes:
        parameters: Every A and B, two per layer.
        read: Names of the layers that are not called, since other code reads their weights: dropout has no effect
            there.
        unused: Names of the layers that were not updated, since no feature depends on them.
    """

    parameters: list[nn.Parameter]
    read: list[str]
    unused: list[str]


def add_low_rank(
    backbone: Backbone, layers: Mapping[str, WeightBlocks], design: LowRankDesign, x: Tensor, generator: torch.Generator
) -> AddedUpdates:
    """Add low-rank updates to layers of a backbone, in place, and freeze everything else in it.

    A is uniform in +-1 / sqrt(columns) and B zero, so that the backbone's function does not change. Layers that have no
    influence on the features are not updated.

    Args:
        backbone: The backbone.
        layers: Names of layers of its body, and which blocks of their weights to update.
        design: Rank, scale and dropout of the updates.
        x: A few raw inputs, for a forward pass that shows how layers are used.
        generator: Generator of A.

    Raises:
        UserError: No layer is left to update, or there are updates already.
    """
    if any(True for _ in _updated_layers(backbone)):
        raise UserError(f"{backbone.info.label}: has low-rank updates already", "remove them first")
    backbone.requires_grad_(False)
    for name, blocks in layers.items():
        add_update(backbone.body.get_submodule(name), design, blocks, generator)
    added = dict(_updated_layers(backbone))
    called, unused = _usage(backbone, added, x)
    for name in unused:
        remove_update(added.pop(name))
    if not added:
        raise UserError(f"{backbone.info.label}: no layer for low-rank updates", "choose other targets")
    parameters = [p for layer in added.values() for p in (layer.lora_a, layer.lora_b)]
    return AddedUpdates(parameters, [name for name in added if name not in called], unused)


@torch.no_grad()
def merge_low_rank(backbone: Backbone) -> None:
    """Add all updates to the weights, so that a prediction costs as much as without them.

    The sums are stored as buffers that are not part of the state dict; they no longer follow A and B.
    """
    for _, layer in _updated_layers(backbone):
        layer.register_buffer("merged", layer.effective_weight().clone(), persistent=False)


def unmerge_low_rank(backbone: Backbone) -> None:
    """Undo :func:`merge_low_rank`: weights, A and B are bitwise the same as before."""
    for _, layer in _updated_layers(backbone):
        layer._buffers.pop("merged", None)
        layer._non_persistent_buffers_set.discard("merged")


def remove_low_rank(backbone: Backbone) -> None:
    """Remove all updates from a backbone, in place; its weights are the base weights."""
    unmerge_low_rank(backbone)
    for _, layer in list(_updated_layers(backbone)):
        remove_update(layer)


def low_rank_state(backbone: Backbone) -> dict[str, Tensor]:
    """Return copies of every A and B by name: all that must be stored besides the given backbone."""
    return {name: tensor.detach().clone() for name, tensor in _update_tensors(backbone).items()}


@torch.no_grad()
def load_low_rank_state(backbone: Backbone, state: Mapping[str, Tensor]) -> None:
    """Load A and B into a backbone that has the same updates; it is not merged afterwards.

    Raises:
        ValueError: Names or shapes are not those of the backbone's updates.
    """
    own = _update_tensors(backbone)
    if {name: tensor.shape for name, tensor in own.items()} != {name: tensor.shape for name, tensor in state.items()}:
        different = sorted(own.keys() ^ state.keys())
        raise ValueError(f"not the updates of this backbone: {different[:5] or 'other shapes'}")
    unmerge_low_rank(backbone)
    for name, tensor in own.items():
        tensor.copy_(state[name])


def _update_tensors(backbone: Backbone) -> dict[str, Tensor]:
    return {f"{name}.{key}": getattr(layer, key) for name, layer in _updated_layers(backbone) for key in _OWN}


def _updated_layers(backbone: Backbone) -> Iterator[tuple[str, LowRank]]:
    return ((name, module) for name, module in backbone.body.named_modules() if isinstance(module, LowRank))


@torch.enable_grad()
def _usage(backbone: Backbone, layers: Mapping[str, LowRank], x: Tensor) -> tuple[set[str], list[str]]:
    """Return the names of the layers that a training step would call, and of those without influence on features."""
    outputs: list[Tensor] = []
    order = call_order(layers.values(), lambda: outputs.append(example_features(backbone, x)))
    called = {id(module) for module in order}
    used = influences(outputs[0], [layer.lora_b for layer in layers.values()])
    unused = [name for name, is_used in zip(layers, used, strict=True) if not is_used]
    return {name for name, layer in layers.items() if id(layer) in called}, unused


@torch.no_grad()
def fold_low_rank(backbone: Backbone) -> None:
    """Replace the weights by their sums with the updates and remove the updates, in place; the function stays."""
    for _, layer in list(_updated_layers(backbone)):
        weight = layer.effective_weight().clone()
        layer._buffers.pop("merged", None)
        layer._non_persistent_buffers_set.discard("merged")
        name = layer.weight_name
        remove_update(layer)
        layer._parameters[name] = nn.Parameter(weight, requires_grad=False)


@dataclass(frozen=True)
class LayerUpdate:
    """The update of a layer's whole weight, as one pair of matrices.

    Attributes:
        layer: Name of the layer in the backbone's body.
        a: A (r, columns).
        b: B (rows, r).
        scale: The weight is W + scale * B A.
        weight_shape: Shape of W.
    """

    layer: str
    a: Tensor
    b: Tensor
    scale: float
    weight_shape: tuple[int, ...]


@torch.no_grad()
def layer_updates(backbone: Backbone) -> list[LayerUpdate]:
    """Return the updates of all layers; those of the blocks of a packed weight are put together into one."""
    updates = []
    for name, layer in _updated_layers(backbone):
        own, pairs = layer.base(layer.weight_name), layer.pairs()
        height, rank = len(own) // layer.blocks.parts, layer.design.rank
        b = own.new_zeros(len(own), rank * len(pairs))
        for number, (part, _, up) in enumerate(pairs):
            b[part * height : (part + 1) * height, number * rank : (number + 1) * rank] = up
        a = torch.cat([down for _, down, _ in pairs])
        updates.append(LayerUpdate(name, a, b, layer.design.scale, tuple(own.shape)))
    return updates
