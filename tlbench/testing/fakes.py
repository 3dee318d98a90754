"""A tiny task, backbone and context, on which a method fits in a second."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.data.dataset import TEST, TRAIN, Dataset, Split, Task, take
from tlbench.protocols import classification, episodic
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.training.features import Features

CPU = torch.device("cpu")
_NOISE = 40
_BLUR = 32  # by how much a fake teacher's logits are below those of a certain one


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
    part = np.tile(np.where(np.arange(each) < each // 2, TRAIN, TEST).astype(np.uint8), classes)
    first, second = classes * 6 // 10, classes * 8 // 10
    counts = tuple([each // 2] * classes)
    info = DatasetInfo(
        name="fake",
        modality="image",
        fingerprint=f"fake-{classes}-{each}-{size}-{seed}",
        classes=tuple(f"class {label}" for label in range(classes)),
        shape=(1, size, size),
        counts={"train": counts, "test": counts},
        class_splits={
            "train": tuple(range(first)),
            "val": tuple(range(first, second)),
            "test": tuple(range(second, classes)),
        },
    )
    return Dataset(info=info, x=x, y=y.astype(np.int64), part=part, domain=np.zeros(len(y), np.int64))


def fake_backbone(seed: int = 0) -> Backbone:
    """Return a narrow four-block convolutional network with batch normalisation and random weights, for 16 x 16."""
    info = describe("conv4", {"width": 8, "image_size": 16, "channels": 1}, {"kind": "random"})
    return build(info, seed, None)


class FakeTeacher(nn.Module):
    """A fixed classifier of the fake images: how well each pixel matches the classes' mean images.

    It is right almost always and never certain, and its running statistics would move in training mode.

    Args:
        dataset: The fake dataset, of whose training examples the means are.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        rows = dataset.rows(TRAIN)
        x, y = torch.from_numpy(dataset.x[rows]).flatten(1).double(), torch.from_numpy(dataset.y[rows])
        self.norm = nn.BatchNorm1d(x.shape[1], affine=False)
        self.match = nn.Linear(x.shape[1], len(dataset.info.classes))
        self.norm.running_mean, self.norm.running_var = x.mean(0), x.var(0)
        self.double().eval().requires_grad_(False)
        means = torch.stack([self.norm(x[y == label]).mean(0) for label in range(len(dataset.info.classes))])
        self.match.weight.copy_(means / _BLUR)
        self.match.bias.copy_(-means.square().sum(1) / (2 * _BLUR))
        self.to(torch.get_default_dtype())

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images."""
        return self.match(self.norm(x.flatten(1).to(self.match.weight.dtype)))


def fake_context(folder: Path, dataset: Dataset, backbone: Backbone, /, **changes: Any) -> Context:
    """Return a context on the CPU whose frozen features are those of ``backbone``.

    Args:
        folder: Where features are kept.
        dataset: The dataset of the task.
        backbone: The backbone in the state in which the method is given it.
        **changes: Other fields of :class:`Context`, e.g. ``folder`` and ``interval`` for checkpoints.
    """
    features = Features(Artifacts(folder / "artifacts"), "fake", lambda: backbone, dataset, CPU)
    return Context(**{"cell": "fake-cell", "device": CPU, "features": features, **changes})


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


def fake_task(protocol: str, shots: int = 5) -> FakeTask:
    """Return the fake task of a protocol: 10 classes, or 2-way episodes.

    Raises:
        ValueError: There is no fake of this protocol.
    """
    dataset = fake_dataset()
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
