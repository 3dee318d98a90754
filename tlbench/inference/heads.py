"""Classifiers of frozen features as modules, so that their tensors lie in one file with the backbone's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.inference.description import NetworkDescription
from tlbench.training.fewshot.centroids import centroid_logits, transform_features
from tlbench.training.linear_probe import LinearProbe
from tlbench.training.nearest_neighbours import neighbour_logits, vote_logits


class FeatureClassifier(nn.Module):
    """A backbone and a classifier of its features.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        head: Maps features to logits (B, classes).
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs (B, ...)."""
        logits: Tensor = self.head(self.backbone(x))
        return logits


class _Head(nn.Module):
    """A classifier whose tensors are buffers.

    Args:
        tensors: By name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


class Probe(_Head):
    """Logistic regression on features that are centred and divided by a scalar."""

    TENSORS = ("mean", "scale", "weights", "bias")
    mean: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of features (B, out_dim)."""
        return LinearProbe(1.0, self.mean, self.scale, self.weights, self.bias, None)(z)


class Neighbours(_Head):
    """The votes of the k nearest of a bank of features."""

    TENSORS = ("bank", "labels")
    bank: Tensor
    labels: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], k: int, classes: int, temperature: float) -> None:
        super().__init__(tensors)
        self._k = k
        self._vote = partial(vote_logits, classes=classes, temperature=temperature)

    def forward(self, z: Tensor) -> Tensor:
        """Return log-probabilities (B, classes) of features (B, out_dim)."""
        return neighbour_logits(z, bank=self.bank, labels=self.labels, k=self._k, vote=self._vote)


class Centroids(_Head):
    """Distances to class means of transformed features."""

    TENSORS = ("mean", "centres")
    mean: Tensor
    centres: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], kind: str) -> None:
        super().__init__(tensors)
        self._kind = kind

    def forward(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of features (B, out_dim)."""
        transform = partial(transform_features, mean=self.mean, kind=self._kind)
        return centroid_logits(z, transform=transform, centres=self.centres)


def feature_head(network: NetworkDescription, classes: int, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the classifier of features that a description names.

    Args:
        network: Its head is ``probe``, ``neighbours`` or ``centroids``.
        classes: Number of classes.
        tensors: Its tensors by name; others are left out.

    Raises:
        KeyError: One is missing.
    """
    if network.head == "probe":
        return Probe({name: tensors[name] for name in Probe.TENSORS})
    if network.head == "neighbours":
        own = {name: tensors[name] for name in Neighbours.TENSORS}
        return Neighbours(own, network.k, classes, network.temperature)
    return Centroids({name: tensors[name] for name in Centroids.TENSORS}, network.transform)
