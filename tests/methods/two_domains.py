"""A small task with two domains, and steps of a training on it made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlbench.core.info import TaskInfo
from tlbench.data.dataset import TEST, TRAIN, Split, Task, take
from tlbench.testing.fakes import CPU, fake_dataset
from tlbench.training.adapting import Answers, Step
from tlbench.training.context import Context

CLASSES = 10


def two_domains(shots: int = 0, relabel: int | None = None) -> Task:
    """Return a task whose target has the source's classes with a ramp of brightness over each image.

    Args:
        shots: Labelled target examples of each class.
        relabel: Gives the target's unlabelled examples labels in an order drawn with this seed; None gives none.
    """
    dataset = fake_dataset()
    source, rows = dataset.rows(TRAIN), dataset.rows(TEST)
    shade = np.linspace(0, 100, 16)[None, None, None]
    x = np.clip(dataset.x[rows] * 0.6 + shade, 0, 255).astype(np.uint8)
    y = dataset.y[rows]
    labelled = np.flatnonzero(np.arange(len(rows)) % 10 < shots)
    hidden = None if relabel is None else np.random.default_rng(relabel).permutation(y)
    return Task(
        info=TaskInfo("adaptation", dataset.info, shots, CLASSES, {}),
        train=Split(x[labelled], y[labelled], rows[labelled]),
        val=take(dataset, source, dataset.y[source]),
        unlabeled=Split(x, hidden, rows),
        source=take(dataset, source, dataset.y[source]),
    )


def context(**changes: Any) -> Context:
    """Return a context on the CPU."""
    return Context(**{"cell": "two-domains", "device": CPU, **changes})


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made_step(progress: float = 0.3, sizes: tuple[int, int, int] = (6, 3, 4), width: int = 5, classes: int = 3) -> Step:
    """Return a step with features and logits that have gradients, the parts of the given sizes."""
    parts = [
        Answers(
            torch.arange(size),
            torch.arange(size) % classes,
            draw(size, width, seed=place).requires_grad_(),
            draw(size, classes, seed=10 + place).requires_grad_(),
        )
        for place, size in enumerate(sizes)
    ]
    return Step(*parts, progress=progress)
