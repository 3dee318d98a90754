"""The Transformer encoder network: token ids in, hidden states or one vector a text out; padding changes neither.

The hidden state of padding is zero between any two parts of the network, and of nothing else. So each part sees from
its input alone where texts end, and a network may be run from any of its parts on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

_SPREAD = 0.02  # standard deviation of initial weights


@dataclass(frozen=True)
class Shape:
    """What decides the network.

    Attributes:
        tokens: Rows of the token table.
        pad: The id of padding.
        positions: Most tokens of a text.
        layers: Number of blocks.
        width: Length of a hidden state.
        heads: Attention heads of a block.
        dropout: Of embeddings, attention weights and what sublayers add.
        pooling: Whether a text's vector is the mean of its tokens' states or that of the first.
    """

    tokens: int
    pad: int
    positions: int
    layers: int
    width: int
    heads: int
    dropout: float
    pooling: Literal["mean", "cls"]


class Encoder(nn.Module):
    """Stem, blocks and a last normalisation."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.stem = Stem(shape)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self._pooling = shape.pooling
        self.apply(_initialize)

    @property
    def embedding(self) -> nn.Embedding:
        """The token table (tokens, width)."""
        return self.stem.tokens

    def states(self, ids: Tensor) -> Tensor:
        """Return the last hidden states (B, L, width) of token ids (B, L); those of padding mean nothing."""
        states: Tensor = self.norm(self._run(ids))
        return states

    def forward(self, ids: Tensor) -> Tensor:
        """Return features (B, width) of token ids (B, L)."""
        h = self._run(ids)
        z: Tensor = self.norm(h)
        if self._pooling == "cls":
            return z[:, 0]
        real = is_real(h)[..., None]
        return (z * real).sum(1) / real.sum(1)

    def _run(self, ids: Tensor) -> Tensor:
        h: Tensor = self.stem(ids)
        for block in self.blocks:
            h = block(h)
        return h


class Stem(nn.Module):
    """Tokens and positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.tokens, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.norm = nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self._pad = shape.pad

    def forward(self, ids: Tensor) -> Tensor:
        """Return hidden states (B, L, width) of ids (B, L)."""
        h = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        embedded: Tensor = self.dropout(self.norm(h))
        return embedded * (ids != self._pad)[..., None]


class Block(nn.Module):
    """Attention and perceptron, each behind a normalisation and beside the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width)
        self.mlp = Perceptron(shape)

    def forward(self, h: Tensor) -> Tensor:
        """Return hidden states (B, L, width) of hidden states."""
        real = is_real(h)
        h = h + self.attn(self.norm1(h), real)
        h = h + self.mlp(self.norm2(h))
        return h * real[..., None]


class Attention(nn.Module):
    """Multi-head self-attention to what is no padding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self._heads = shape.heads

    def forward(self, h: Tensor, real: Tensor) -> Tensor:
        """Return what is added to hidden states (B, L, width); ``real`` is False at padding (B, L)."""
        q, k, v = self.qkv(h).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout.p if self.training else 0.0
        mixed = scaled_dot_product_attention(q, k, v, real[:, None, None, :], dropout)
        added: Tensor = self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))
        return added


class Perceptron(nn.Module):
    """Two layers, four times as wide between."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.width, 4 * shape.width)
        self.fc2 = nn.Linear(4 * shape.width, shape.width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return what is added to hidden states (B, L, width)."""
        added: Tensor = self.dropout(self.fc2(nn.functional.gelu(self.fc1(h))))
        return added


def is_real(h: Tensor) -> Tensor:
    """Return where hidden states (B, L, width) are no padding (B, L)."""
    norm: Tensor = torch.linalg.vector_norm(h.detach(), dim=-1)
    return norm > 0


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_SPREAD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
