"""Keeps what cells of one process share: datasets, tokenisers, networks, frozen features, teachers."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from tlbench.backbones.backbone import Backbone, absent_backbone
from tlbench.backbones.catalog import build
from tlbench.backbones.image_recipe import framing
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice
from tlbench.core.config import Precision
from tlbench.core.description import PrecisionChoice
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest, sha256
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import Dataset
from tlbench.data.framed import frame
from tlbench.data.mixed_images import MixedImages
from tlbench.store.artifacts import Artifacts
from tlbench.training.frozen_features import FrozenFeatures
from tlbench.training.process_group import SINGLE_PROCESS, ProcessGroup
from tlbench.worker.artifact_jobs import TEACHERS, ArtifactName, teacher_key
from tlbench.worker.artifact_transfer import weights_file
from tlbench.worker.pretrain import pretrained_weights
from tlbench.worker.teacher import trained_teacher
from tlbench.worker.text_reading import read_texts, tokenizer_for

T = TypeVar("T")


class WorkerCache:
    """The :class:`WorkerResources` of one process, each kind in a small least-recently-used cache.

    Everything in it can be built again from a cell alone, so a new process gives the same results as an old one.

    Args:
        artifacts: Files shared with other processes of this machine.
        device: Where this process trains.
        size: Number of entries of each kind to keep.
        group: This process among those that build artifacts, and train cells, together.
        precision: What training steps are computed in; ``auto`` is bfloat16 on GPUs that have it.
        gpus: GPUs that this process holds; None is one if it trains on one, else none.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        device: torch.device,
        size: int = 4,
        *,
        group: ProcessGroup = SINGLE_PROCESS,
        precision: PrecisionChoice = "auto",
        gpus: float | None = None,
    ) -> None:
        self.artifacts = artifacts
        self.device = device
        self.group = group
        self.gpus = float(device.type == "cuda") if gpus is None else gpus
        self.precision: Precision = _fastest(device) if precision == "auto" else precision
        self._size = size
        self._datasets: OrderedDict[str, Dataset] = OrderedDict()
        self._tokenizers: OrderedDict[str, str] = OrderedDict()
        self._token_ids: OrderedDict[str, Dataset] = OrderedDict()
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._features: OrderedDict[str, FrozenFeatures] = OrderedDict()
        self._teachers: OrderedDict[str, nn.Module] = OrderedDict()

    def dataset(self, choice: DatasetChoice) -> Dataset:
        """Return a dataset, decoding it where this machine has not done so yet.

        Raises:
            UserError: Its content has changed since the run was planned.
        """

        def open_and_check() -> Dataset:
            dataset = open_dataset(choice.name, choice.params, self.artifacts)
            if dataset.info.fingerprint != choice.info.fingerprint:
                raise UserError(
                    f"dataset {choice.info.name}: its content here is not the content this run was planned with",
                    "it changed meanwhile, or this node decodes it differently; run the suite again",
                )
            return dataset

        return self._cached(self._datasets, choice.info.fingerprint, open_and_check)

    def tokenizer(self, backbone: BackboneChoice, dataset: DatasetChoice, *, episodic: bool = False) -> str | None:
        """Return the tokeniser, as JSON, with which a backbone reads a dataset; None unless a network reads text.

        Args:
            backbone: The backbone.
            dataset: The dataset.
            episodic: Whether it is read for episodes, whose test classes nothing may have been trained on.
        """
        if backbone.info.modality != "text" or backbone.is_absent:
            return None
        key = digest([backbone.artifact, dataset.info.fingerprint, episodic])
        return self._cached(self._tokenizers, key, lambda: tokenizer_for(backbone, dataset, episodic, self))

    def read(self, dataset: DatasetChoice, backbone: BackboneChoice, *, episodic: bool = False) -> Dataset:
        """Return a dataset as a backbone reads it: texts as token ids, images of several sizes as squares.

        Args:
            dataset: The dataset.
            backbone: The backbone.
            episodic: As in :meth:`tokenizer`.

        Raises:
            UserError: The dataset has changed since the run was planned, or there is no tokeniser for it.
        """
        tokenizer = self.tokenizer(backbone, dataset, episodic=episodic)
        if tokenizer is None:
            return self._framed(self.dataset(dataset), backbone)
        key = digest([backbone.artifact, dataset.info.fingerprint, episodic])
        return self._cached(
            self._token_ids, key, lambda: read_texts(self.dataset(dataset), backbone, tokenizer, self.artifacts)
        )

    def backbone(self, choice: BackboneChoice, seed: int) -> Backbone:
        """Return the one shared instance of a backbone, which must not be changed; see :meth:`own_backbone`."""
        start = initial_seed(choice, seed)
        return self._cached(self._backbones, f"{choice.artifact}-{start}", lambda: self._build(choice, start))

    def own_backbone(self, choice: BackboneChoice, seed: int) -> Backbone:
        """Return a copy of a backbone that the caller may change."""
        return copy.deepcopy(self.backbone(choice, seed))

    def features(self, choice: BackboneChoice, seed: int, dataset: Dataset) -> FrozenFeatures:
        """Return the frozen features of a dataset as the backbone reads it; they are computed when first read."""
        tokens = [dataset.tokens] if dataset.tokens else []
        key = digest([choice.artifact, initial_seed(choice, seed), dataset.info.fingerprint, *tokens], length=32)
        return self._cached(
            self._features,
            key,
            lambda: FrozenFeatures(self.artifacts, key, lambda: self.backbone(choice, seed), dataset, self.device),
        )

    def teacher(self, student: Cell) -> nn.Module:
        """Return the one shared instance of the teacher that a cell learns from, which must not be changed.

        Raises:
            ValueError: The cell's method has no teacher.
        """
        cell = student.teacher
        if cell is None:
            raise ValueError(f"{student.method.label} has no teacher")
        key = teacher_key(student)
        return self._cached(self._teachers, key, lambda: trained_teacher(cell, key, self))

    def own_teacher(self, student: Cell) -> nn.Module:
        """Return a copy of a cell's teacher that the caller may change."""
        return copy.deepcopy(self.teacher(student))

    def read_by_teacher(self, student: Cell) -> Dataset:
        """Return a cell's dataset as its teacher reads it: texts with the tokeniser in the teacher's weights file.

        A teacher sees the images that its student sees.

        Raises:
            ValueError: The cell's method has no teacher.
        """
        self.teacher(student)
        cell, key = student.teacher, teacher_key(student)
        assert cell is not None
        dataset = self.dataset(cell.dataset)
        if cell.backbone.info.modality != "text":
            return self._framed(dataset, student.backbone)

        def read() -> Dataset:
            tokenizer = read_tokenizer(weights_file(self.artifacts, ArtifactName(TEACHERS, key)))
            return read_texts(dataset, cell.backbone, tokenizer, self.artifacts)

        return self._cached(self._token_ids, key, read)

    def pretrained_weights(self, choice: BackboneChoice) -> Path:
        """Return the weights file of a backbone whose recipe names a pre-training run; it is built if missing."""
        if choice.pretrain is None:
            raise ValueError(f"{choice.info.label} is not pre-trained by tlbench")
        return pretrained_weights(choice.pretrain, choice.artifact, self)

    def _framed(self, dataset: Dataset, backbone: BackboneChoice) -> Dataset:
        if not isinstance(dataset.x, MixedImages):
            return dataset
        recipe = backbone.info.recipe
        fill = tuple(round(255 * shade) for shade in recipe["mean"])
        return frame(dataset, framing(recipe), fill, self.artifacts)

    def _build(self, choice: BackboneChoice, seed: int) -> Backbone:
        weights: Path | None = None
        if choice.is_absent:
            return absent_backbone(choice.info)
        if choice.pretrain is not None:
            weights = self.pretrained_weights(choice)
        elif choice.weights_file is not None:
            weights = Path(choice.weights_file)
            if sha256(weights) != choice.info.recipe["weights"]["sha256"]:
                raise UserError(
                    f"weights file {weights}: its content here is not the content this run was planned with",
                    "it changed meanwhile, or this node has another file of that name; run the suite again",
                )
        return build(choice.info, seed, weights).to(self.device)

    def _cached(self, cache: OrderedDict[str, T], key: str, build: Callable[[], T]) -> T:
        if key not in cache:
            cache[key] = build()
            while len(cache) > self._size:
                cache.popitem(last=False)
        cache.move_to_end(key)
        return cache[key]


def _fastest(device: torch.device) -> Precision:
    low = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if low else "float32"


def initial_seed(choice: BackboneChoice, seed: int) -> int:
    """Return the seed of a backbone's initialisation: the cell's for random weights, else 0 for all cells."""
    return seed if choice.info.weights == "random" else 0
