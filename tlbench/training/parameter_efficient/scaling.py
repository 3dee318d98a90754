"""Scales and shifts behind the layers of a network, at work wherever the weights of a layer are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError
from tlbench.training.data_parallel import use_global_batch_norm

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Scaled:
    """Stands before the class of a layer that computes h: the layer then computes gamma * h + beta.

    That equals the layer with the weight gamma * W and the bias gamma * b + beta, which is what anybody finds who
    reads its weight and bias, whether the layer is called or not (the attention of torch and of Swin reads them).
    The layer's own tensors stay where they are, under their names. A merged layer keeps the products as buffers.
    """

    plain: type[nn.Module]
    reads: tuple[str, str]

    def weight_now(self: Any) -> Tensor:
        """Return gamma * W; of a normalisation without scale, gamma."""
        merged, own = self._buffers.get("merged_weight"), self._parameters.get(self.reads[0])
        if merged is not None:
            return merged
        if own is None:
            return self.gamma
        return self.gamma.view(*self.gamma.shape, *[1] * (own.ndim - self.gamma.ndim)) * own

    def bias_now(self: Any) -> Tensor | None:
        """Return gamma * b + beta; None where there is neither."""
        merged, own = self._buffers.get("merged_bias"), self._parameters.get(self.reads[1])
        if merged is not None or (self.beta is None and own is None):
            return merged
        if self.beta is None:
            return self.gamma * own
        return self.beta if own is None else torch.addcmul(self.beta, self.gamma, own)


class ScaledLinear(Scaled):
    """A linear layer or a convolution, which scales what it computes where that saves the gradient of its weight."""

    def forward(self: Any, x: Tensor) -> Tensor:
        """Return gamma * (W x + b) + beta."""
        # In mixed precision gamma would be rounded, or the output be in single; evaluation does what merging will.
        mixed = torch.is_autocast_enabled(x.device.type)
        if mixed or not torch.is_grad_enabled() or "merged_weight" in self._buffers or self.beta is None:
            return super().forward(x)  # type: ignore[misc]
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        if isinstance(self, nn.Linear):
            return torch.addcmul(self.beta, nn.functional.linear(x, weight, bias), self.gamma)
        shape = (-1, *[1] * (weight.ndim - 2))
        return torch.addcmul(self.beta.view(shape), self._conv_forward(x, weight, bias), self.gamma.view(shape))


@cache
def _scaled(plain: type[nn.Module]) -> type[nn.Module]:
    reads = ("in_proj_weight", "in_proj_bias") if issubclass(plain, nn.MultiheadAttention) else ("weight", "bias")
    front = ScaledLinear if plain in _LINEAR else Scaled
    own = {"plain": plain, "reads": reads, reads[0]: property(front.weight_now), reads[1]: property(front.bias_now)}
    return type(f"Scaled{plain.__name__}", (front, plain), own)


def add_scales(backbone: Backbone, x: Tensor, *, parallel: bool) -> list[nn.Parameter]:
    """Put scales and shifts behind the layers of a backbone, in place; return them.

    They follow every linear layer, packed attention projection, convolution and normalisation of torch's classes and
    of those derived from them. Shifts cannot follow ``RMSNorm``, which has none to merge them into. What does not act
    on a forward pass (as the shift behind a layer whose bias is not read) is left out. A convolution that standardises
    its own weight undoes gamma, so that there only the shift counts. At first gamma is one and beta zero: the backbone
    computes what it did.

    Args:
        backbone: The backbone.
        x: A few raw inputs for that forward pass.
        parallel: Whether several processes will train, whose batch normalisation is over the global batch.

    Raises:
        UserError: There is no such layer, or there are scales already.
    """
    if any(True for _ in _layers(backbone)):
        raise UserError(f"{backbone.info.label}: has scales and shifts already")
    values = next(backbone.parameters(), torch.empty(0))
    if parallel:
        use_global_batch_norm(backbone)  # it changes classes: done later, it would take the scales off again
    for layer in list(backbone.body.modules()):
        if size := _channels(layer):
            layer.__class__ = _scaled(type(layer))
            layer.register_parameter("gamma", nn.Parameter(values.new_ones(size)))
            shift = None if isinstance(layer, nn.RMSNorm) else nn.Parameter(values.new_zeros(size))
            layer.register_parameter("beta", shift)
    _drop_idle(backbone, x)
    return [p for layer in _layers(backbone) for p in (layer.gamma, layer.beta) if p is not None]


@torch.no_grad()
def merge_scales(backbone: Backbone) -> None:
    """Fold all scales and shifts into weights and biases, so that predicting costs what it does without them.

    The products are kept as buffers that are no part of the state; they no longer follow the scales.
    """
    for layer in _layers(backbone):
        weight, bias = layer.weight_now(), layer.bias_now()
        layer.register_buffer("merged_weight", weight.clone(), persistent=False)
        if bias is not None:
            layer.register_buffer("merged_bias", bias.clone(), persistent=False)


def _layers(backbone: Backbone) -> Iterator[Any]:
    return (module for module in backbone.body.modules() if isinstance(module, Scaled))


def _channels(layer: nn.Module) -> tuple[int, ...]:
    """Return the shape of what a layer's scale is multiplied with; empty where there is nothing to scale."""
    match layer:
        case nn.Linear():
            return (layer.out_features,)
        case _ConvNd() if not layer.transposed:
            return (layer.out_channels,)
        case nn.MultiheadAttention() if layer.in_proj_weight is not None:
            return (len(layer.in_proj_weight),)
        case _NormBase():
            return (layer.num_features,)
        case nn.GroupNorm():
            return (layer.num_channels,)
        case nn.LayerNorm() | nn.RMSNorm():
            return tuple(layer.normalized_shape)
    return ()


@torch.enable_grad()
def _drop_idle(backbone: Backbone, x: Tensor) -> None:
    """Take off the scales and shifts that no feature depends on."""
    layers = list(_layers(backbone))
    if not layers:
        raise UserError(f"{backbone.info.label}: no layer to scale")
    tensors = [p for layer in layers for p in (layer.gamma, layer.beta) if p is not None]
    was_training = backbone.training
    features = backbone.eval()(x.to(tensors[0].device))
    backbone.train(was_training)
    reached = torch.autograd.grad(features.sum(), tensors, allow_unused=True)
    idle = {id(p) for p, gradient in zip(tensors, reached, strict=True) if gradient is None}
    for layer in layers:
        if id(layer.beta) in idle:
            layer.beta = None
        if id(layer.gamma) in idle:
            layer.__class__ = layer.plain
            del layer.gamma, layer.beta
