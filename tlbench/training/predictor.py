"""What a fitted method hands back to the protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.record import Footprint


@runtime_checkable
class Predictor(Protocol):
    """A fitted classifier."""

    def logits(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs (B, ...)."""

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""


class FeaturePredictor:
    """A head on a frozen backbone. The protocol feeds it cached features, so the backbone runs once for all cells.

    Args:
        backbone: The frozen backbone, in the state in which it was given.
        head: Maps features (B, out_dim) to logits (B, classes).
        trainable: Number of values fitted.
        stored: Number of float32 values to store per task.
    """

    def __init__(self, backbone: Backbone, head: Callable[[Tensor], Tensor], trainable: int, stored: int) -> None:
        self.backbone = backbone
        self.head = head
        self._trainable = trainable
        self._stored = stored

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs."""
        self.backbone.eval()
        return self.head(self.backbone(x))

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
        total = sum(p.numel() for p in self.backbone.parameters()) + self._stored
        return Footprint(trainable=self._trainable, total=total, stored_bytes=4 * self._stored)


class ModulePredictor:
    """A trained module as a predictor.

    Args:
        module: Maps raw inputs (B, ...) to logits (B, classes).
        trained: The parameters that were trained.
        stored: The tensors to store per task; by default the trained parameters and every buffer.
    """

    def __init__(self, module: nn.Module, trained: Sequence[Tensor], stored: Sequence[Tensor] | None = None) -> None:
        self.module = module
        self._trained = list(trained)
        self._stored = list(stored) if stored is not None else [*trained, *module.buffers()]

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs, in evaluation mode."""
        self.module.eval()
        return self.module(x)

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
        return Footprint(
            trainable=sum(p.numel() for p in self._trained),
            total=sum(p.numel() for p in self.module.parameters()),
            stored_bytes=sum(t.numel() * t.element_size() for t in self._stored),
        )


@runtime_checkable
class EmbeddingEpisodeLearner(Protocol):
    """A learner of episodes whose embedding does not depend on the episode.

    Attributes:
        encoder: The embedding; None when it is the backbone as given: the protocol then takes cached features.
        transductive: Whether the answer to one query may depend on the other queries of its episode.
    """

    encoder: nn.Module | None
    transductive: bool

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) for queries.

        Args:
            support: Embedded support examples (E, S, D).
            labels: Their labels (E, S), 0 ... ways - 1, in any order, any number a class.
            query: Embedded queries (E, Q, D).
            ways: Number of classes in each episode.
        """

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""


@runtime_checkable
class AdaptingEpisodeLearner(Protocol):
    """A learner of episodes that changes the network for each of them, and so is given raw inputs.

    Attributes:
        module: The network from which every episode starts; solving leaves it as it was.
        transductive: Whether the answer to one query may depend on the other queries of its episode.
    """

    module: nn.Module
    transductive: bool

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) for queries; every episode is solved alone, and always alike.

        Args:
            support: Raw support examples (E, S, ...).
            labels: Their labels (E, S), 0 ... ways - 1, in any order, any number a class.
            query: Raw queries (E, Q, ...).
            ways: Number of classes in each episode.
        """

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
