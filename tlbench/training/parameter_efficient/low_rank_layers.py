"""Layers whose frozen weight has a low-rank update, W + scale * B A, called or read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, dropout, linear, scaled_dot_product_attention


@dataclass(frozen=True)
class LowRankDesign:
    """What the updates of one network have in common.

    Attributes:
        rank: Rank r of each update.
        alpha: The update is alpha / r * B A.
        dropout: Share of a layer's inputs that its update does not see in training.
        rslora: Whether it is alpha / sqrt(r) * B A instead (Kalajdzievski 2023, arXiv:2312.03732).
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
    """Which rows of a weight are updated: of ``parts`` equal parts the ``chosen``, each by a pair A, B of its own."""

    parts: int = 1
    chosen: tuple[int, ...] = (0,)


class LowRank:
    """Stands before the class of a layer, whose weight then reads W + scale * B A.

    So the update acts where code reads the weight without calling the layer (the attention of Swin, the fast path of
    ``nn.TransformerEncoderLayer``). A layer that is called adds the update to its output instead, and the product
    B A is never made. The layer's own tensors stay where they are, under their names, and never change. A merged
    layer keeps the sum as a buffer.

    Attributes:
        plain: The layer's own class.
        reads: The weight's name.
        lora_a: A of each chosen part, one below the other: (parts chosen * r, columns). A kernel's columns are its
            input channels times its positions.
        lora_b: B likewise: (rows of the chosen parts, r).
    """

    plain: type[nn.Module]
    reads: str

    def pairs(self: Any) -> list[tuple[int, Tensor, Tensor]]:
        """Return (part, A (r, columns), B (rows of a part, r)) of each chosen part."""
        count = len(self.rows.chosen)
        return list(zip(self.rows.chosen, self.lora_a.chunk(count), self.lora_b.chunk(count), strict=True))

    def weight_now(self: Any) -> Tensor:
        """Return W + scale * B A, in the shape of W."""
        merged, own = self._buffers.get("merged"), self._parameters[self.reads]
        if merged is not None:
            return merged
        parts = list(own.flatten(1).chunk(self.rows.parts))
        for part, a, b in self.pairs():
            parts[part] = torch.addmm(parts[part], b, a, alpha=self.design.scale)
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).view_as(own)

    def seen(self: Any, x: Tensor) -> Tensor:
        """Return what the update sees of the layer's input."""
        return dropout(x, self.design.dropout) if self.design.dropout and self.training else x

    def project(self: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x (W + scale * B A)^T + bias (..., rows) of x (..., columns)."""
        tensors = [x, weight, bias, self.lora_a, self.lora_b]
        if torch.is_autocast_enabled(x.device.type):
            lower = torch.get_autocast_dtype(x.device.type)
            tensors = [None if tensor is None else tensor.to(lower) for tensor in tensors]
        flat = tensors[0].reshape(-1, x.shape[-1])
        seen = self.seen(flat)
        y = _Project.apply(flat, None if seen is flat else seen, *tensors[1:], self.rows, self.design.scale)
        return y.view(*x.shape[:-1], len(weight))


class LowRankLinear(LowRank):
    """A linear layer that is called."""

    def forward(self: Any, x: Tensor) -> Tensor:
        """Return (..., out_features) of (..., in_features)."""
        if "merged" in self._buffers:
            return super().forward(x)  # type: ignore[misc]
        return self.project(x, self._parameters["weight"], self._parameters["bias"])


class LowRankConv2d(LowRank):
    """A convolution that is called: A is a kernel to r channels with the layer's stride and padding, B is 1 x 1.

    With channels in groups, where an output reads few inputs, the weight is small and is updated as a whole.
    """

    def forward(self: Any, x: Tensor) -> Tensor:
        """Return maps (B, out_channels, H, W) of maps (B, in_channels, ...)."""
        if "merged" in self._buffers or self.groups > 1:
            return super().forward(x)  # type: ignore[misc]
        weight = self._parameters["weight"]
        kernels = self.lora_a.view(-1, *weight.shape[1:])
        inner = self._conv_forward(self.seen(x), kernels, None)
        y = self._conv_forward(x, weight, self._parameters["bias"])
        return y.add_(conv2d(inner, (self.design.scale * self.lora_b)[..., None, None]))


class LowRankAttention(LowRank):
    """Attention with a packed projection, of which self-attention without its weights is computed here.

    All else is left to torch, which reads the weight.
    """

    def forward(
        self: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what ``nn.MultiheadAttention`` does."""
        usual = query is key is value and query.dim() == 3 and not query.is_nested
        usual = usual and self.bias_k is None and self.bias_v is None and not self.add_zero_attn
        if "merged" in self._buffers or need_weights or not usual or (is_causal and attn_mask is None):
            more = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
            return super().forward(query, key, value, *more)  # type: ignore[misc]
        packed = self.project(query, self._parameters["in_proj_weight"], self._parameters["in_proj_bias"])
        axes = (2, 0, 3, 1, 4) if self.batch_first else (2, 1, 3, 0, 4)
        q, k, v = packed.unflatten(-1, (3, self.num_heads, self.head_dim)).permute(axes)
        mask = _mask(key_padding_mask, attn_mask, q)
        mixed = scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0)
        mixed = mixed.transpose(1, 2) if self.batch_first else mixed.permute(2, 0, 1, 3)
        return self.out_proj(mixed.flatten(2)), None


class _Project(torch.autograd.Function):
    """x W^T + bias + scale * (seen A^T) B^T, part by part into the same result; W and bias are constants.

    Written out because automatic differentiation would pass over the large tensors twice as often.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        seen: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        rows: WeightBlocks,
        scale: float,
    ) -> Tensor:
        """Return (n, rows) of x (n, columns); ``seen`` is None where the update sees x itself."""
        y = linear(x, weight, bias)
        inner = linear(x if seen is None else seen, a)
        parts = y.chunk(rows.parts, 1)
        count = len(rows.chosen)
        for part, own, up in zip(rows.chosen, inner.chunk(count, 1), b.chunk(count), strict=True):
            parts[part].addmm_(own, up.T, alpha=scale)
        ctx.save_for_backward(x if seen is None else seen, inner, weight, a, b)
        ctx.rows, ctx.scale, ctx.drops = rows, scale, seen is not None
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients of x, of what was seen of it, of A and of B."""
        g = gradients[0]
        seen, inner, weight, a, b = ctx.saved_tensors
        count = len(ctx.rows.chosen)
        parts = [g.chunk(ctx.rows.parts, 1)[part] for part in ctx.rows.chosen]
        g_inner = torch.cat([part @ up for part, up in zip(parts, b.chunk(count), strict=True)], 1).mul_(ctx.scale)
        own = inner.chunk(count, 1)
        g_b = torch.cat([part.T @ each for part, each in zip(parts, own, strict=True)]).mul_(ctx.scale)
        g_x = g_seen = None
        if ctx.needs_input_grad[0]:
            g_x = g @ weight
            g_x = g_x if ctx.drops else g_x.addmm_(g_inner, a)
        if ctx.needs_input_grad[1]:
            g_seen = g_inner @ a
        return g_x, g_seen, None, None, g_inner.T @ seen, g_b, None, None


def supports_low_rank(layer: nn.Module) -> bool:
    """Say whether a layer can be updated: linear, a two-dimensional convolution, or attention with packed weights."""
    if isinstance(layer, nn.MultiheadAttention):
        return layer.in_proj_weight is not None
    return isinstance(layer, nn.Linear | nn.Conv2d)


@cache
def updated_class(plain: type[nn.Module]) -> type[nn.Module]:
    """Return the class of an updated layer; one that computes in a way of its own keeps it, and reads the weight."""
    reads, front = "weight", LowRank
    if issubclass(plain, nn.MultiheadAttention):
        reads = "in_proj_weight"
    for base, own in (
        (nn.Linear, LowRankLinear),
        (nn.Conv2d, LowRankConv2d),
        (nn.MultiheadAttention, LowRankAttention),
    ):
        if plain.forward is base.forward:
            front = own
    members = {"plain": plain, "reads": reads, reads: property(front.weight_now)}
    return type(f"LowRank{plain.__name__}", (front, plain), members)


def _mask(padding: Tensor | None, mask: Tensor | None, q: Tensor) -> Tensor | None:
    """Return the sum of both masks as attention adds it to its logits: it broadcasts to (B, heads, L, L)."""
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
