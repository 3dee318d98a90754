"""A forward pass of a backbone on example inputs, which shows how its layers are used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.data.dataset import Split


def example_inputs(split: Split) -> Tensor:
    """Return the first two raw inputs (2, ...) of a split."""
    return torch.from_numpy(np.ascontiguousarray(split.x[:2]))


def example_features(backbone: Backbone, x: Tensor) -> Tensor:
    """Return the features (B, out_dim) of raw inputs in evaluation mode; the backbone's mode is restored afterwards."""
    was_training = backbone.training
    try:
        features: Tensor = backbone.eval()(x.to(next(backbone.parameters()).device))
    finally:
        backbone.train(was_training)
    return features


def influences(features: Tensor, tensors: Sequence[Tensor]) -> list[bool]:
    """Return for each tensor whether features, which were computed with gradients enabled, depend on it."""
    if not features.requires_grad:
        return [False] * len(tensors)
    gradients = torch.autograd.grad(features.sum(), list(tensors), allow_unused=True)
    return [gradient is not None for gradient in gradients]
