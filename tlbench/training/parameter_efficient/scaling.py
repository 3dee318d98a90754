"""Scales and shifts after the layers of a network, effective also where other code reads a layer's weights."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError
from tlbench.training.batch_norm import use_global_batch_norm
from tlbench.training.parameter_efficient.example_forward import example_features, influences

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Scaled(nn.Module):
    """The first base class of a layer with scale and shift: instead of h it computes gamma * h + beta.

    That equals the layer with the weight gamma * W and the bias gamma * b + beta, and these are what code gets that
    reads weight and bias of the layer, whether it is called or not (the attention of torch and of Swin reads them).
    The layer's own tensors are unchanged, under their names. A merged layer stores the products as buffers.

    Attributes:
        plain: The layer's own class, the second base class.
        weight_name: Name of the layer's weight.
        bias_name: Name of the layer's bias.
        gamma: Scale.
        beta: Shift; None where there is none.
    """

    plain: type[nn.Module]
    weight_name: str
    bias_name: str
    gamma: nn.Parameter
    beta: nn.Parameter | None

    def effective_weight(self) -> Tensor:
        """Return gamma * W; gamma for a normalisation without scale."""
        merged, own = self._buffers.get("merged_weight"), self._parameters.get(self.weight_name)
        if merged is not None:
            return merged
        if own is None:
            return self.gamma
        return self.gamma.view(*self.gamma.shape, *[1] * (own.ndim - self.gamma.ndim)) * own

    def effective_bias(self) -> Tensor | None:
        """Return gamma * b + beta; None where there is neither bias nor shift."""
        merged, own = self._buffers.get("merged_bias"), self._parameters.get(self.bias_name)
        if merged is not None or (self.beta is None and own is None):
            return merged
        if self.beta is None:
            assert own is not None
            return self.gamma * own
        return self.beta if own is None else torch.addcmul(self.beta, self.gamma, own)


class ScaledLinear(Scaled):
    """A linear layer or a convolution. In training it scales its output, which saves the gradient of its weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return gamma * (W x + b) + beta."""
        # In mixed precision gamma would be rounded, or the output be in float32; evaluation equals the merged layer.
        mixed = torch.is_autocast_enabled(x.device.type)
        if mixed or not torch.is_grad_enabled() or "merged_weight" in self._buffers or self.beta is None:
            y: Tensor = super().forward(x)
            return y
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        assert weight is not None
        if issubclass(self.plain, nn.Linear):
            return torch.addcmul(self.beta, nn.functional.linear(x, weight, bias), self.gamma)
        shape = (-1, *[1] * (weight.ndim - 2))
        own = cast("nn.Conv2d", self)._conv_forward(x, weight, bias)
        return torch.addcmul(self.beta.view(shape), own, self.gamma.view(shape))


@cache
def _scaled_class(plain: type[Any]) -> type[Scaled]:
    packed = issubclass(plain, nn.MultiheadAttention)
    weight_name, bias_name = ("in_proj_weight", "in_proj_bias") if packed else ("weight", "bias")
    front = ScaledLinear if plain in _LINEAR else Scaled
    members = {
        "plain": plain,
        "weight_name": weight_name,
        "bias_name": bias_name,
        weight_name: property(front.effective_weight),
        bias_name: property(front.effective_bias),
    }
    return type(f"Scaled{plain.__name__}", (front, plain), members)


def add_scales(backbone: Backbone, x: Tensor, *, distributed: bool) -> list[nn.Parameter]:
    """Add scales and shifts after the layers of a backbone, in place, and return them.

    They follow every linear layer, packed attention projection, convolution and normalisation of torch's classes and
    of those derived from them. ``RMSNorm`` has no shift, since it has no bias to merge it into. Scales and shifts
    without influence on the features (as the shift after a layer whose bias is not read) are left out. For a
    convolution that standardises its own weight gamma has no effect, so that it has only a shift. Initially gamma is
    one and beta zero, so that the backbone's function does not change.

    Args:
        backbone: The backbone.
        x: A few raw inputs, for a forward pass that shows how layers are used.
        distributed: Whether several processes will train, with batch normalisation over the global batch.

    Raises:
        UserError: There is no such layer, or there are scales already.
    """
    if any(True for _ in _scaled_layers(backbone)):
        raise UserError(f"{backbone.info.label}: has scales and shifts already")
    values = next(backbone.parameters(), torch.empty(0))
    if distributed:
        use_global_batch_norm(backbone)  # changes classes: done later, it would remove the scales
    for layer in list(backbone.body.modules()):
        if size := _scale_shape(layer):
            layer.__class__ = _scaled_class(cast("Hashable", type(layer)))
            layer.register_parameter("gamma", nn.Parameter(values.new_ones(size)))
            shift = None if isinstance(layer, nn.RMSNorm) else nn.Parameter(values.new_zeros(size))
            layer.register_parameter("beta", shift)
    _remove_unused(backbone, x)
    return _scale_parameters(backbone)


@torch.no_grad()
def merge_scales(backbone: Backbone) -> None:
    """Merge all scales and shifts into weights and biases, so that a prediction costs as much as without them.

    The products are stored as buffers that are not part of the state dict; they no longer follow the scales.
    """
    for layer in _scaled_layers(backbone):
        weight, bias = layer.effective_weight(), layer.effective_bias()
        layer.register_buffer("merged_weight", weight.clone(), persistent=False)
        if bias is not None:
            layer.register_buffer("merged_bias", bias.clone(), persistent=False)


def _scaled_layers(backbone: Backbone) -> Iterator[Scaled]:
    return (module for module in backbone.body.modules() if isinstance(module, Scaled))


def _scale_parameters(backbone: Backbone) -> list[nn.Parameter]:
    return [p for layer in _scaled_layers(backbone) for p in (layer.gamma, layer.beta) if p is not None]


def _scale_shape(layer: nn.Module) -> tuple[int, ...]:
    """Return the shape of a layer's scale; empty for a module without one."""
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
def _remove_unused(backbone: Backbone, x: Tensor) -> None:
    """Remove the scales and shifts without influence on the features."""
    parameters = _scale_parameters(backbone)
    if not parameters:
        raise UserError(f"{backbone.info.label}: no layer to scale")
    used = influences(example_features(backbone, x), parameters)
    unused = {id(p) for p, is_used in zip(parameters, used, strict=True) if not is_used}
    for layer in list(_scaled_layers(backbone)):
        if id(layer.beta) in unused:
            layer.beta = None
        if id(layer.gamma) in unused:
            layer.__class__ = layer.plain  # type: ignore[assignment]  # the layer is an instance of both
            del layer.gamma, layer.beta


@torch.no_grad()
def fold_scales(backbone: Backbone) -> None:
    """Replace weights and biases by their products with the scales and remove these, in place; the function stays.

    Layers that had no weight or no bias have one afterwards, where it is not neutral.
    """
    for layer in list(_scaled_layers(backbone)):
        weight, bias = layer.effective_weight().clone(), layer.effective_bias()
        bias = None if bias is None else bias.clone()
        for name in ("merged_weight", "merged_bias"):
            layer._buffers.pop(name, None)
            layer._non_persistent_buffers_set.discard(name)
        names = layer.weight_name, layer.bias_name
        layer.__class__ = layer.plain  # type: ignore[assignment]  # the layer is an instance of both
        del layer.gamma, layer.beta
        for name, value in zip(names, (weight, bias), strict=True):
            if value is not None:
                layer._parameters[name] = nn.Parameter(value, requires_grad=False)
