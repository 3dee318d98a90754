"""A text encoder with the head of masked language modelling."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tlbench.backbones.backbone import Backbone

_INIT_STD = 0.02  # standard deviation of the initial weights


class TextEncoder(Protocol):
    """The body of a text backbone (:class:`Backbone`)."""

    @property
    def embedding(self) -> nn.Embedding:
        """The table of token embeddings (tokens, width)."""

    def states(self, ids: Tensor) -> Tensor:
        """Return the last hidden states (B, L, out_dim) of prepared token ids (B, L)."""


class LanguageModel(nn.Module):
    """Predicts masked tokens: a dense layer with GELU and normalisation, decoded by the encoder's token embeddings.

    Devlin et al. 2019, arXiv:1810.04805; tied embeddings after Press and Wolf 2017, arXiv:1608.05859. The head, that is
    everything but the encoder, is discarded after pre-training. Where embeddings are narrower than hidden states (Clark
    et al. 2020, arXiv:2003.10555; Lan et al. 2020, arXiv:1909.11942), the dense layer maps between the widths.

    Args:
        backbone: A text backbone; trained in place.
        generator: Generator of the head's initial weights.
    """

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        tokens, width = self._encoder.embedding.weight.shape
        dense = nn.Linear(backbone.out_dim, width)
        nn.init.normal_(dense.weight, std=_INIT_STD, generator=generator)
        nn.init.zeros_(dense.bias)
        self.transform = nn.Sequential(dense, nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(tokens))

    @property
    def _encoder(self) -> TextEncoder:
        return cast("TextEncoder", self.backbone.body)

    def forward(self, ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return logits (M, tokens) at M positions; those of all positions would be several times as many.

        Args:
            ids: Prepared token ids (B, L).
            rows: The text of each position (M,).
            columns: The position in the text (M,).
        """
        states = self._encoder.states(ids)[rows, columns]
        return linear(self.transform(states), self._encoder.embedding.weight, self.bias)
