"""A text encoder under the head of masked language modelling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tlbench.backbones.backbone import Backbone

_SPREAD = 0.02  # standard deviation of fresh weights


class LanguageModel(nn.Module):
    """Tells hidden tokens: a dense layer with GELU and normalisation, then the encoder's own token table as decoder.

    Devlin et al. 2019, arXiv:1810.04805; a tied table after Press and Wolf 2017, arXiv:1608.05859. The head, that is
    everything but the encoder, is thrown away after pre-training. Where the table is narrower than the states (Clark et
    al. 2020, arXiv:2003.10555; Lan et al. 2020, arXiv:1909.11942), the dense layer leads from their width to its own.

    Args:
        backbone: A text backbone; trained in place.
        generator: Decides the head's fresh weights.
    """

    def __init__(self, backbone: Backbone, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        tokens, width = backbone.body.embedding.weight.shape
        dense = nn.Linear(backbone.out_dim, width)
        nn.init.normal_(dense.weight, std=_SPREAD, generator=generator)
        nn.init.zeros_(dense.bias)
        self.transform = nn.Sequential(dense, nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(tokens))

    def forward(self, ids: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return logits (M, tokens) at M positions only; those of all positions would be several times as many.

        Args:
            ids: PreparedSuite token ids (B, L).
            rows: The text of each position (M,).
            columns: Its place in the text (M,).
        """
        states = self.backbone.body.states(ids)[rows, columns]
        return linear(self.transform(states), self.backbone.body.embedding.weight, self.bias)
