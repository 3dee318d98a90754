"""A tiny task, backbone and context, on which a method fits in a second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone, absent_backbone
from tlbench.backbones.catalog import build, describe
from tlbench.core.cell import no_backbone
from tlbench.core.info import DatasetInfo, Modality, TaskInfo
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset, Split, Task, take
from tlbench.protocols import adaptation, classification, episodic
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.training.frozen_features import FrozenFeatures

CPU = torch.device("cpu")
_NOISE = 40
_PALE, _SHADE = 0.75, 50  # contrast of the fake target over that of the source, and how far it is brighter at the top
_BLUR = {"image": 32, "text": 4}  # by how much a fake teacher's logits are below those of a certain one
_TOKENS = 64  # of the fake texts' vocabulary
_SHARED = 24  # of them stand in the texts of any class
_OWN = 2  # a class has that many of its own, each as likely as a shared one


def fake_dataset(classes: int = 10, each: int = 20, size: int = 16, seed: int = 0) -> Dataset:
    """Return grey images that any method can tell apart: a coarse random pattern a class, plus noise.

    The first half of each class is for training, the second for testing; of the classes, 6 in 10 are for episodic
    training, 2 for validation and 2 for the test.

    Args:
        classes: Number of classes, at least 10 for the episodic protocol.
        each: Examples of each class.
        size: Height and width, a multiple of 4.
        seed: Decides patterns and noise.
    """
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 2, (classes, 4, 4)).repeat(size // 4, 1).repeat(size // 4, 2) * 120 + 60
    y = np.repeat(np.arange(classes), each)
    x = np.clip(patterns[y] + rng.normal(0, _NOISE, (len(y), size, size)), 0, 255).astype(np.uint8)[:, None]
    return _divided("image", f"fake-{classes}-{each}-{size}-{seed}", x, classes, each)


def fake_texts(classes: int = 10, each: int = 20, length: int = 20, seed: int = 0) -> Dataset:
    """Return token ids that any method can tell apart: half of a text's tokens are its class's own, half anybody's.

    Texts are of different lengths, between the tokens 2 and 3, padded with 0. All else is as in :func:`fake_dataset`.

    Args:
        classes: Number of classes, at most 17.
        each: Examples of each class.
        length: Tokens of the longest text, its ends included.
        seed: Decides the texts.
    """
    rng = np.random.default_rng(seed)
    x = np.zeros((classes * each, length), np.int32)
    for row, label in zip(x, np.repeat(np.arange(classes), each), strict=True):
        size = rng.integers(6, length - 1)
        own = _TOKENS - _OWN * (label + 1) + rng.integers(0, _OWN, size)
        words = np.where(rng.random(size) < 0.5, own, 5 + rng.integers(0, _SHARED, size))
        row[: size + 2] = [2, *words, 3]
    return _divided("text", f"fake-texts-{classes}-{each}-{length}-{seed}", x, classes, each)


def fake_words() -> Dataset:
    """Return the fake texts as they are before they become token ids: words between blanks."""
    tokens = fake_texts()
    words = [" ".join(f"word{token}" for token in row if token > 3) for row in np.asarray(tokens.x).tolist()]
    return replace(tokens, x=words)


def _divided(modality: Modality, name: str, x: Any, classes: int, each: int) -> Dataset:
    """Return inputs (classes * each, ...), sorted by class, as a dataset with both kinds of splits."""
    part = np.tile(np.where(np.arange(each) < each // 2, TRAIN, TEST).astype(np.uint8), classes)
    first, second = classes * 6 // 10, classes * 8 // 10
    counts = tuple([each // 2] * classes)
    info = DatasetInfo(
        name="fake",
        modality=modality,
        fingerprint=name,
        classes=tuple(f"class {label}" for label in range(classes)),
        shape=x.shape[1:] if modality == "image" else (),
        counts={"train": counts, "test": counts},
        class_splits={
            "train": tuple(range(first)),
            "val": tuple(range(first, second)),
            "test": tuple(range(second, classes)),
        },
    )
    y = np.repeat(np.arange(classes), each).astype(np.int64)
    return Dataset(info=info, x=x, y=y, part=part, domain=np.zeros(len(y), np.int64))


def fake_pair(modality: Modality = "image") -> Dataset:
    """Return a pair of domains: a fake dataset and another of the same classes.

    Images of the second are paler, and shaded from the top; texts are merely others. What the source does not train on
    validates.
    """
    if modality == "image":
        source, noise = fake_dataset(), np.random.default_rng(1)
        x = np.asarray(source.x)
        shade = np.linspace(_SHADE, 0, source.info.shape[1])[:, None]
        paler = _PALE * (x + noise.normal(0, _NOISE, x.shape)) + shade
        target = np.clip(paler, 0, 255).astype(np.uint8)
    else:
        source, target = fake_texts(), np.asarray(fake_texts(seed=1).x)
    name = f"pair-{source.info.fingerprint}"
    return Dataset(
        info=replace(source.info, fingerprint=name, domains=("source", "target"), target="fake"),
        x=np.concatenate([np.asarray(source.x), target]),
        y=np.tile(source.y, 2),
        part=np.concatenate([np.where(source.part == TRAIN, SOURCE, SOURCE_VAL).astype(np.uint8), source.part]),
        domain=np.repeat([0, 1], len(source.y)),
    )


def fake_backbone(seed: int = 0) -> Backbone:
    """Return a narrow four-block convolutional network with batch normalisation and random weights, for 16 x 16."""
    info = describe("conv4", {"width": 8, "image_size": 16, "channels": 1}, {"kind": "random"})
    return build(info, seed, None)


def fake_text_backbone(seed: int = 0) -> Backbone:
    """Return a narrow text encoder of two blocks with random weights, for the vocabulary of the fake texts."""
    info = describe("text_tiny", {"vocabulary": 512, "max_length": 32, "dropout": 0.0}, {"kind": "random"})
    shape = {"width": 32, "heads": 2, "vocabulary": {**info.recipe["vocabulary"], "size": _TOKENS}}
    return build(replace(info, recipe={**info.recipe, **shape}), seed, None)


class FakeTeacher(nn.Module):
    """A fixed classifier of the fakes: how well each pixel, or each token's count, matches the means of the classes.

    It is right almost always and never certain, and its running statistics would move in training mode.

    Args:
        dataset: The fake dataset, of whose training examples the means are.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        rows = dataset.rows(TRAIN)
        x, y = _flat(torch.from_numpy(np.asarray(dataset.x)[rows])).double(), torch.from_numpy(dataset.y[rows])
        self.norm = nn.BatchNorm1d(x.shape[1], affine=False)
        self.match = nn.Linear(x.shape[1], len(dataset.info.classes))
        self.norm.running_mean, self.norm.running_var = x.mean(0), x.var(0)
        self.double().eval().requires_grad_(False)
        means = torch.stack([self.norm(x[y == label]).mean(0) for label in range(len(dataset.info.classes))])
        blur = _BLUR[dataset.info.modality]
        self.match.weight.copy_(means / blur)
        self.match.bias.copy_(-means.square().sum(1) / (2 * blur))
        self.to(torch.get_default_dtype())

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images, or of token ids."""
        logits: Tensor = self.match(self.norm(_flat(x).to(self.match.weight.dtype)))
        return logits


def _flat(x: Tensor) -> Tensor:
    """Return the pixels of images, or how often each token stands in a text (B, D)."""
    return x.flatten(1) if x.ndim > 2 else nn.functional.one_hot(x.long(), _TOKENS).sum(1)[:, 5:]


def fake_context(folder: Path, dataset: Dataset, backbone: Backbone, /, **changes: Any) -> Context:
    """Return a context on the CPU whose frozen features are those of ``backbone``.

    Args:
        folder: Where features are kept.
        dataset: The dataset of the task.
        backbone: The backbone in the state in which the method is given it.
        **changes: Other fields of :class:`Context`, e.g. ``folder`` and ``interval`` for checkpoints.
    """
    features = FrozenFeatures(Artifacts(folder / "artifacts"), "fake", lambda: backbone, dataset, CPU)
    return Context(**{"random_root": "fake-cell", "device": CPU, "features": features, **changes})


@dataclass(frozen=True)
class FakeTask:
    """A task with the examples it is scored on, which no method is given.

    Attributes:
        task: What the method is given.
        dataset: Where it was drawn from.
        test: Labelled examples of the test; in ``episodic`` of the test classes, labels counted from 0.
    """

    task: Task
    dataset: Dataset
    test: Split


def fake_absent_backbone() -> Backbone:
    """Return what a method is given that reads no backbone."""
    return absent_backbone(no_backbone("text").info)


def fake_task(
    protocol: str, modality: Modality | Literal["words"] = "image", shots: int | None = None, oracle: bool = False
) -> FakeTask:
    """Return the fake task of a protocol: 10 classes, or 2-way episodes.

    Args:
        protocol: The protocol.
        modality: What its inputs are; ``words`` are texts before they become token ids.
        shots: Labelled examples a class; by default 5, and none of the target in ``adaptation``.
        oracle: In ``adaptation``, whether the labels of all the target's training examples are given.

    Raises:
        ValueError: There is no fake of this protocol.
    """
    if protocol == "adaptation":
        dataset = fake_pair("image" if modality == "image" else "text")
        task_info = TaskInfo(protocol, dataset.info, shots or 0, 10, adaptation.Options().model_dump())
        rows = dataset.rows(TEST)
        task = adaptation.draw(task_info, dataset, 0, oracle)
        return FakeTask(task, dataset, take(dataset, rows, dataset.y[rows]))
    shots = 5 if shots is None else shots
    dataset = {"image": fake_dataset, "text": fake_texts, "words": fake_words}[modality]()
    make = partial(TaskInfo, protocol=protocol, dataset=dataset.info, shots=shots)
    if protocol == "classification":
        task = classification.draw(make(classes=10, options={}), dataset, seed=0)
        rows = dataset.rows(TEST)
        return FakeTask(task, dataset, take(dataset, rows, dataset.y[rows]))
    if protocol == "episodic":
        options = episodic.Options(ways=2, queries=3, episodes=20).model_dump()
        task, classes = episodic.draw(make(classes=2, options=options), dataset)
        rows = np.flatnonzero(np.isin(dataset.y, classes))
        return FakeTask(task, dataset, take(dataset, rows, dataset.y[rows] - min(classes)))
    raise ValueError(f"no fake task for the protocol {protocol!r}")
