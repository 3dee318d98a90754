"""Layers whose frozen weight has a low-rank update, W + scale * B A, whether the layer is called or its weight read."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, dropout, linear, scaled_dot_product_attention


@dataclass(frozen=True)
class LowRankDesign:
    """The common properties of all updates of one network.

    Attributes:
        rank: Rank r of each update.
        alpha: The update is alpha / r * B A.
        dropout: Probability of dropping an entry of a layer's input before its update, in training.
        rslora: Whether the update is alpha / sqrt(r) * B A instead (Kalajdzievski 2023, arXiv:2312.03732).
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    rslora: bool = False

    @property
    def scale(self) -> float:
        """Factor of B A."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


@dataclass(frozen=True)
class WeightBlocks:
    """Which rows of a weight are updated.

    Attributes:
        parts: Number of equal blocks into which the rows are divided.
        chosen: The blocks that are updated, each by a pair A, B of its own.
    """

    parts: int = 1
    chosen: tuple[int, ...] = (0,)


class LowRank(nn.Module):
    """The first base class of a layer with an update; the second is the layer's own class.

    Code that reads the weight gets W + scale * B A, so that the update acts also where the layer is not called (in the
    attention of Swin, or the fast path of ``nn.TransformerEncoderLayer``). A layer that is called adds the update to
    its output instead, and the product B A is never computed. The layer's own tensors are unchanged, under their names.
    A merged layer stores the sum as the buffer ``merged``.

    Attributes:
        plain: The layer's own class.
        weight_name: Name of the layer's weight.
        design: Rank, scale and dropout of the update.
        blocks: The updated blocks of the weight.
        lora_a: The A of each chosen block, concatenated by rows: (chosen blocks * r, columns). The columns of a
            convolution kernel are its input channels times its positions.
        lora_b: The B of each chosen block, likewise: (rows of the chosen blocks, r).
    """

    plain: type[nn.Module]
    weight_name: str
    design: LowRankDesign
    blocks: WeightBlocks
    lora_a: nn.Parameter
    lora_b: nn.Parameter

    def base(self, name: str) -> Tensor:
        """Return a tensor of the layer as it is without the update."""
        tensor = self._parameters[name]
        assert tensor is not None
        return tensor

    def pairs(self) -> list[tuple[int, Tensor, Tensor]]:
        """Return (block, A (r, columns), B (rows of a block, r)) of each chosen block."""
        count = len(self.blocks.chosen)
        return list(zip(self.blocks.chosen, self.lora_a.chunk(count), self.lora_b.chunk(count), strict=True))

    def effective_weight(self) -> Tensor:
        """Return W + scale * B A, in the shape of W."""
        merged = self._buffers.get("merged")
        if merged is not None:
            return merged
        own = self.base(self.weight_name)
        parts = list(own.flatten(1).chunk(self.blocks.parts))
        for part, a, b in self.pairs():
            parts[part] = torch.addmm(parts[part], b, a, alpha=self.design.scale)
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).view_as(own)

    def update_input(self, x: Tensor) -> Tensor:
        """Return the layer's input as its update receives it: with dropout, in training."""
        return dropout(x, self.design.dropout) if self.design.dropout and self.training else x

    def project(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x (W + scale * B A)^T + bias (..., rows) of x (..., columns)."""
        a: Tensor = self.lora_a
        b: Tensor = self.lora_b
        if torch.is_autocast_enabled(x.device.type):
            lower = torch.get_autocast_dtype(x.device.type)
            x, weight, a, b = x.to(lower), weight.to(lower), a.to(lower), b.to(lower)
            bias = None if bias is None else bias.to(lower)
        flat = x.reshape(-1, x.shape[-1])
        own = self.update_input(flat)
        separate = None if own is flat else own
        y: Tensor = _Project.apply(flat, separate, weight, bias, a, b, self.blocks, self.design.scale)
        return y.view(*x.shape[:-1], len(weight))


class LowRankLinear(LowRank):
    """A linear layer that is called."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out_features) of (..., in_features)."""
        if "merged" in self._buffers:
            y: Tensor = super().forward(x)
            return y
        return self.project(x, self.base("weight"), self._parameters["bias"])


class LowRankConv2d(LowRank):
    """A convolution that is called: A is a kernel to r channels with the layer's stride and padding, B is 1 x 1.

    A grouped convolution, whose weight is small, uses the sum W + scale * B A.
    """

    groups: int

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, out_channels, H, W) of maps (B, in_channels, ...)."""
        y: Tensor
        if "merged" in self._buffers or self.groups > 1:
            y = super().forward(x)
            return y
        convolve = cast("nn.Conv2d", self)._conv_forward
        weight = self.base("weight")
        kernels = self.lora_a.view(-1, *weight.shape[1:])
        inner = convolve(self.update_input(x), kernels, None)
        y = convolve(x, weight, self._parameters["bias"])
        return y.add_(conv2d(inner, (self.design.scale * self.lora_b)[..., None, None]))


class LowRankAttention(LowRank):
    """Attention with a packed projection. Self-attention without attention weights as output is computed here.

    Everything else is left to ``nn.MultiheadAttention``, which reads the weight.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what ``nn.MultiheadAttention``, whose parameters these are, returns."""
        layer = cast("nn.MultiheadAttention", self)
        self_attention = query is key is value and query.dim() == 3 and not query.is_nested
        supported = self_attention and layer.bias_k is None and layer.bias_v is None and not layer.add_zero_attn
        if "merged" in self._buffers or need_weights or not supported or (is_causal and attn_mask is None):
            options = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
            result: tuple[Tensor, Tensor | None] = super().forward(query, key, value, *options)
            return result
        packed = self.project(query, self.base("in_proj_weight"), self._parameters["in_proj_bias"])
        axes = (2, 0, 3, 1, 4) if layer.batch_first else (2, 1, 3, 0, 4)
        q, k, v = packed.unflatten(-1, (3, layer.num_heads, layer.head_dim)).permute(axes)
        mask = _mask(key_padding_mask, attn_mask, q)
        mixed = scaled_dot_product_attention(q, k, v, mask, layer.dropout if self.training else 0.0)
        mixed = mixed.transpose(1, 2) if layer.batch_first else mixed.permute(2, 0, 1, 3)
        return layer.out_proj(mixed.flatten(2)), None


class _Project(torch.autograd.Function):
    """x W^T + bias + scale * (x' A^T) B^T, block by block into the same result; W and bias are constants.

    x' is x, or x after dropout. Automatic differentiation would traverse the large tensors twice as often. An autograd
    function takes all tensors and settings as separate arguments.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        blocks: WeightBlocks,
        scale: float,
    ) -> Tensor:
        """Return (n, rows) of x (n, columns); ``dropped`` is x after dropout, or None without dropout."""
        y = linear(x, weight, bias)
        inner = linear(x if dropped is None else dropped, a)
        parts = y.chunk(blocks.parts, 1)
        count = len(blocks.chosen)
        for part, own, up in zip(blocks.chosen, inner.chunk(count, 1), b.chunk(count), strict=True):
            parts[part].addmm_(own, up.T, alpha=scale)
        ctx.save_for_backward(x if dropped is None else dropped, inner, weight, a, b)
        ctx.blocks, ctx.scale, ctx.drops = blocks, scale, dropped is not None
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients of x, of x after dropout, of A and of B."""
        g = gradients[0]
        own_input, inner, weight, a, b = ctx.saved_tensors
        count = len(ctx.blocks.chosen)
        parts = [g.chunk(ctx.blocks.parts, 1)[part] for part in ctx.blocks.chosen]
        g_inner = torch.cat([part @ up for part, up in zip(parts, b.chunk(count), strict=True)], 1).mul_(ctx.scale)
        own = inner.chunk(count, 1)
        g_b = torch.cat([part.T @ each for part, each in zip(parts, own, strict=True)]).mul_(ctx.scale)
        g_x = g_dropped = None
        if ctx.needs_input_grad[0]:
            g_x = g @ weight
            g_x = g_x if ctx.drops else g_x.addmm_(g_inner, a)
        if ctx.needs_input_grad[1]:
            g_dropped = g_inner @ a
        return g_x, g_dropped, None, None, g_inner.T @ own_input, g_b, None, None


def supports_low_rank(layer: nn.Module) -> bool:
    """Return whether a layer can be updated: linear, 2D convolution, or attention with packed weights."""
    if isinstance(layer, nn.MultiheadAttention):
        return layer.in_proj_weight is not None
    return isinstance(layer, nn.Linear | nn.Conv2d)


def add_update(layer: nn.Module, design: LowRankDesign, blocks: WeightBlocks, generator: torch.Generator) -> None:
    """Give a layer an update, in place: A is uniform in +-1 / sqrt(columns), B is zero.

    Args:
        layer: The layer; see :func:`supports_low_rank`.
        design: Rank, scale and dropout of the update.
        blocks: The blocks of its weight to update.
        generator: Generator of A.
    """
    layer.__class__ = updated_class(cast("Hashable", type(layer)))
    assert isinstance(layer, LowRank)
    layer.design, layer.blocks = design, blocks
    own = layer.base(layer.weight_name)
    height, columns = own.flatten(1).shape
    count = len(blocks.chosen)
    a = torch.empty(count * design.rank, columns)
    a.uniform_(-(columns**-0.5), columns**-0.5, generator=generator)
    layer.register_parameter("lora_a", nn.Parameter(a.to(own)))
    layer.register_parameter("lora_b", nn.Parameter(own.new_zeros(height // blocks.parts * count, design.rank)))


def remove_update(layer: LowRank) -> None:
    """Remove a layer's update, in place; a merged layer is unmerged first."""
    layer.__class__ = layer.plain  # type: ignore[assignment]  # the layer is an instance of both
    del layer.lora_a, layer.lora_b, layer.design, layer.blocks


@cache
def updated_class(plain: type[Any]) -> type[LowRank]:
    """Return the class of an updated layer; a class that overrides ``forward`` keeps it, and reads the weight."""
    weight_name, front = "weight", LowRank
    if issubclass(plain, nn.MultiheadAttention):
        weight_name = "in_proj_weight"
    for base, own in (
        (nn.Linear, LowRankLinear),
        (nn.Conv2d, LowRankConv2d),
        (nn.MultiheadAttention, LowRankAttention),
    ):
        if plain.forward is base.forward:
            front = own
    members = {"plain": plain, "weight_name": weight_name, weight_name: property(front.effective_weight)}
    return type(f"LowRank{plain.__name__}", (front, plain), members)


def _mask(padding: Tensor | None, mask: Tensor | None, q: Tensor) -> Tensor | None:
    """Return the sum of both masks as attention adds it to its logits, broadcastable to (B, heads, L, L)."""
    terms = []
    if padding is not None:
        terms.append(_additive(padding, q)[:, None, None])
    if mask is not None:
        mask = _additive(mask, q)
        terms.append(mask if mask.dim() == 2 else mask.view(*q.shape[:2], *mask.shape[1:]))
    return sum(terms[1:], terms[0]) if terms else None


def _additive(mask: Tensor, q: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(q.dtype)
    return q.new_zeros(mask.shape).masked_fill_(mask, -torch.inf)
