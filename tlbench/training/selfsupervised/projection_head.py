"""The projection head of contrastive learning, on whose output the loss is computed; it is discarded afterwards."""

from __future__ import annotations

import math

import torch
from torch import nn


def projection_head(width: int, out: int, layers: int, generator: torch.Generator) -> nn.Sequential:
    """Return a perceptron that maps features (B, width) to embeddings (B, out).

    Chen et al. 2020, arXiv:2002.05709, section 4.2: hidden layers have the width of the features. Each is followed by
    batch normalisation and ReLU, as in the authors' code, and so has no bias.

    Args:
        width: Width of the features.
        out: Width of the embeddings.
        layers: Number of linear layers; 1 is a linear head.
        generator: Generator of the initial weights.
    """
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
    head = nn.Sequential(*parts, nn.Linear(width, out))
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head
