"""What a method's ``fit`` returns: predictors of classification and adaptation, and learners of episodes."""

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
        """Return the parameter counts and the storage that a task needs."""


class FeaturePredictor:
    """A head on a frozen backbone. The protocol feeds it cached features, so the backbone runs once for all cells.

    Args:
        backbone: The frozen backbone, exactly as it was given.
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
        """Return logits (B, classes) of raw inputs (B, ...)."""
        self.backbone.eval()
        return self.head(self.backbone(x))

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
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
        """Return logits (B, classes) of raw inputs (B, ...), in evaluation mode."""
        self.module.eval()
        logits: Tensor = self.module(x)
        return logits

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        return Footprint(
            trainable=sum(p.numel() for p in self._trained),
            total=sum(p.numel() for p in self.module.parameters()),
            stored_bytes=sum(t.numel() * t.element_size() for t in self._stored),
        )


@runtime_checkable
class EmbeddingEpisodeLearner(Protocol):
    """A learner of episodes with an embedding that is the same in all episodes.

    Attributes:
        encoder: The embedding; None if it is the backbone as given, for which the protocol uses cached features.
        transductive: Whether the prediction for a query may depend on the other queries of its episode.
    """

    encoder: nn.Module | None
    transductive: bool

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) for queries.

        Args:
            support: Embedded support examples (E, S, D).
            labels: Their labels (E, S), 0 ... ways - 1, in any order and with any number of examples per class.
            query: Embedded queries (E, Q, D).
            ways: Number of classes in each episode.
        """

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""


@runtime_checkable
class AdaptingEpisodeLearner(Protocol):
    """A learner that adapts the network to every episode, and so is given raw inputs.

    Attributes:
        module: The network as it is at the start of every episode; solving an episode does not change it.
        transductive: Whether the prediction for a query may depend on the other queries of its episode.
    """

    module: nn.Module
    transductive: bool

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) for queries; the result for an episode does not depend on the other episodes.

        Args:
            support: Raw support examples (E, S, ...).
            labels: Their labels (E, S), 0 ... ways - 1, in any order and with any number of examples per class.
            query: Raw queries (E, Q, ...).
            ways: Number of classes in each episode.
        """

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""


EpisodeLearner = EmbeddingEpisodeLearner | AdaptingEpisodeLearner
"""What the ``fit`` of an episodic method returns."""


def stored_tensors(predictor: ModulePredictor) -> list[Tensor]:
    """Return the tensors that a task needs beside the network that was given."""
    return list(predictor._stored)
