"""What a process keeps between cells: datasets, tokenisers, built backbones, frozen features, trained teachers."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice
from tlbench.core.config import Precision
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest, sha256
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import Dataset
from tlbench.store.artifacts import Artifacts
from tlbench.training.frozen_features import Features
from tlbench.worker.artifact_jobs import TEACHERS, teacher_artifact
from tlbench.worker.build_once import weights_file
from tlbench.worker.pretrain import pretrained_weights
from tlbench.worker.teacher import trained_teacher
from tlbench.worker.text_reading import read_texts, tokenizer_of

T = TypeVar("T")


class WorkerCache:
    """Shared pieces of the cells that one process runs; everything in it can be made again from a cell alone.

    Args:
        artifacts: Files shared with other processes of this machine.
        device: Where this process trains.
        keep: How many of each kind to keep open.
        rank: This process among those that make backbones together.
        world: How many do.
        precision: What training steps are computed in; ``auto`` is bfloat16 on GPUs that have it.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        device: torch.device,
        keep: int = 4,
        *,
        rank: int = 0,
        world: int = 1,
        precision: Precision | Literal["auto"] = "auto",
    ) -> None:
        self.artifacts = artifacts
        self.device = device
        self.rank = rank
        self.world = world
        self.precision: Precision = _native(device) if precision == "auto" else precision
        self._keep = keep
        self._datasets: OrderedDict[str, Dataset] = OrderedDict()
        self._tokenizers: OrderedDict[str, str] = OrderedDict()
        self._readings: OrderedDict[str, Dataset] = OrderedDict()
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._features: OrderedDict[str, Features] = OrderedDict()
        self._teachers: OrderedDict[str, nn.Module] = OrderedDict()

    def dataset(self, choice: DatasetChoice) -> Dataset:
        """Open a dataset, decoding it where this machine has not done so yet.

        Raises:
            UserError: It no longer has the content that was planned with.
        """

        def open_and_check() -> Dataset:
            dataset = open_dataset(choice.name, choice.params, self.artifacts)
            if dataset.info.fingerprint != choice.info.fingerprint:
                raise UserError(
                    f"dataset {choice.info.name}: its content here is not the content this run was planned with",
                    "it changed meanwhile, or this node decodes it differently; run the suite again",
                )
            return dataset

        return self._recall(self._datasets, choice.info.fingerprint, open_and_check)

    def tokenizer(self, backbone: BackboneChoice, dataset: DatasetChoice, *, episodic: bool = False) -> str | None:
        """Return the tokeniser, as JSON, with which a backbone reads a dataset; None unless it reads text.

        Args:
            backbone: The backbone.
            dataset: The dataset.
            episodic: Whether it is read for episodes, whose test classes nothing may have learnt from.
        """
        if backbone.info.modality != "text":
            return None
        key = digest([backbone.artifact, dataset.info.fingerprint, episodic])
        return self._recall(self._tokenizers, key, lambda: tokenizer_of(backbone, dataset, episodic, self))

    def read(self, dataset: DatasetChoice, backbone: BackboneChoice, *, episodic: bool = False) -> Dataset:
        """Return a dataset as a backbone reads it: images as they are, texts as the ids of its tokeniser's tokens.

        Args:
            dataset: The dataset.
            backbone: The backbone.
            episodic: As in :meth:`tokenizer`.

        Raises:
            UserError: The dataset has another content than planned with, or there is no tokeniser for it.
        """
        tokenizer = self.tokenizer(backbone, dataset, episodic=episodic)
        if tokenizer is None:
            return self.dataset(dataset)
        key = digest([backbone.artifact, dataset.info.fingerprint, episodic])
        return self._recall(self._readings, key, lambda: read_texts(self.dataset(dataset), backbone, tokenizer, self))

    def backbone(self, choice: BackboneChoice, seed: int) -> Backbone:
        """Return the one shared instance of a backbone; whoever changes it takes a :func:`copy.deepcopy` first."""
        start = initial_seed(choice, seed)
        return self._recall(self._backbones, f"{choice.artifact}-{start}", lambda: self._build(choice, start))

    def own_backbone(self, choice: BackboneChoice, seed: int) -> Backbone:
        """Return a backbone that the caller may change."""
        return copy.deepcopy(self.backbone(choice, seed))

    def features(self, choice: BackboneChoice, seed: int, dataset: Dataset) -> Features:
        """Return the frozen features of a dataset, as the backbone reads it; they are computed when first asked for."""
        read = [dataset.tokens] if dataset.tokens else []
        key = digest([choice.artifact, initial_seed(choice, seed), dataset.info.fingerprint, *read], length=32)
        return self._recall(
            self._features,
            key,
            lambda: Features(self.artifacts, key, lambda: self.backbone(choice, seed), dataset, self.device),
        )

    def teacher(self, pupil: Cell) -> nn.Module:
        """Return the one shared instance of the teacher that a cell learns from.

        Raises:
            ValueError: The cell's method reads no teacher.
        """
        cell = pupil.teacher
        if cell is None:
            raise ValueError(f"{pupil.method.label} has no teacher")
        key = teacher_artifact(pupil)
        return self._recall(self._teachers, key, lambda: trained_teacher(cell, key, self))

    def own_teacher(self, pupil: Cell) -> nn.Module:
        """Return a teacher that nobody else holds: whatever is done to it, the next cell's is as it was."""
        return copy.deepcopy(self.teacher(pupil))

    def read_by_teacher(self, pupil: Cell) -> Dataset:
        """Return a cell's dataset as its teacher reads it: with the tokeniser that is kept with the teacher, if any.

        Raises:
            ValueError: The cell's method reads no teacher.
        """
        self.teacher(pupil)
        cell, key = pupil.teacher, teacher_artifact(pupil)
        assert cell is not None
        dataset = self.dataset(cell.dataset)
        if cell.backbone.info.modality != "text":
            return dataset
        file = weights_file(self.artifacts, TEACHERS, key)
        return self._recall(self._readings, key, lambda: read_texts(dataset, cell.backbone, read_tokenizer(file), self))

    def _build(self, choice: BackboneChoice, seed: int) -> Backbone:
        weights: Path | None = None
        if choice.pretrain is not None:
            weights = pretrained_weights(choice.pretrain, choice.artifact, self)
        elif choice.weights_file is not None:
            weights = Path(choice.weights_file)
            if sha256(weights) != choice.info.recipe["weights"]["sha256"]:
                raise UserError(
                    f"weights file {weights}: its content here is not the content this run was planned with",
                    "it changed meanwhile, or this node has another file of that name; run the suite again",
                )
        return build(choice.info, seed, weights).to(self.device)

    def _recall(self, cache: OrderedDict[str, T], key: str, make: Callable[[], T]) -> T:
        if key not in cache:
            cache[key] = make()
            while len(cache) > self._keep:
                cache.popitem(last=False)
        cache.move_to_end(key)
        return cache[key]


def _native(device: torch.device) -> Precision:
    low = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if low else "float32"


def initial_seed(choice: BackboneChoice, seed: int) -> int:
    """Return the seed of a backbone's initialisation: the cell's for random weights, else one for all."""
    return seed if choice.info.weights == "random" else 0
