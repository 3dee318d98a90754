"""What a worker process offers to the code that builds artifacts and fits cells in it, as protocols.

:class:`tlbench.worker.cache.WorkerCache` implements all of them. Builders name the smallest one that they need, so
that they depend neither on the cache nor on each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice
from tlbench.core.config import Precision
from tlbench.data.dataset import Dataset
from tlbench.store.artifacts import Artifacts
from tlbench.training.frozen_features import FrozenFeatures
from tlbench.training.process_group import ProcessGroup


class BuildResources(Protocol):
    """What building an artifact once takes: where it is kept, and who builds it together."""

    @property
    def artifacts(self) -> Artifacts:
        """Files shared with the other processes of this machine."""

    @property
    def group(self) -> ProcessGroup:
        """This process among those that build artifacts, and train cells, together."""


class TextResources(Protocol):
    """What reading texts as token ids takes."""

    @property
    def artifacts(self) -> Artifacts:
        """Files shared with the other processes of this machine."""

    def dataset(self, choice: DatasetChoice) -> Dataset:
        """Return a dataset as it was decoded: images, or texts."""

    def pretrained_weights(self, choice: BackboneChoice) -> Path:
        """Return the weights file of a backbone whose recipe names a pre-training run; it is built if missing."""


class WorkerResources(BuildResources, TextResources, Protocol):
    """What training takes, be it pre-training, a teacher, or a cell."""

    @property
    def device(self) -> torch.device:
        """Where this process trains."""

    @property
    def gpus(self) -> float:
        """GPUs that this process holds."""

    @property
    def precision(self) -> Precision:
        """What training steps are computed in."""

    def tokenizer(self, backbone: BackboneChoice, dataset: DatasetChoice, *, episodic: bool = False) -> str | None:
        """Return the tokeniser, as JSON, with which a backbone reads a dataset; None unless it reads text."""

    def read(self, dataset: DatasetChoice, backbone: BackboneChoice, *, episodic: bool = False) -> Dataset:
        """Return a dataset as a backbone reads it: texts as token ids, images of several sizes as squares."""

    def backbone(self, choice: BackboneChoice, seed: int) -> Backbone:
        """Return the one shared instance of a backbone, which must not be changed."""

    def own_backbone(self, choice: BackboneChoice, seed: int) -> Backbone:
        """Return a copy of a backbone that the caller may change."""

    def features(self, choice: BackboneChoice, seed: int, dataset: Dataset) -> FrozenFeatures:
        """Return the frozen features of a dataset as the backbone reads it."""

    def teacher(self, student: Cell) -> nn.Module:
        """Return the one shared instance of a cell's teacher, which must not be changed; it is built if missing."""

    def own_teacher(self, student: Cell) -> nn.Module:
        """Return a copy of a cell's teacher that the caller may change."""

    def read_by_teacher(self, student: Cell) -> Dataset:
        """Return a cell's dataset as its teacher reads it."""
