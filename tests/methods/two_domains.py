"""The fake task of adaptation with labels to hide, and steps of a training on it made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlbench.data.dataset import Split, Task
from tlbench.testing.fakes import CPU, fake_task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, DomainOutputs
from tlbench.training.context import Context

CLASSES = 10


def two_domains(shots: int = 0, relabel: int | None = None) -> Task:
    """Return the fake task of adaptation.

    Args:
        shots: Labelled target examples of each class.
        relabel: Gives the target's unlabelled examples labels, in an order drawn with this seed; None gives none.
    """
    task = fake_task("adaptation", shots=shots).task
    if relabel is None:
        return task
    assert task.unlabeled is not None
    labels = np.random.default_rng(relabel).permutation(np.arange(len(task.unlabeled)) % CLASSES)
    return replace(task, unlabeled=Split(task.unlabeled.x, labels, task.unlabeled.rows))


def context(**changes: Any) -> Context:
    """Return a context on the CPU."""
    return Context(**{"random_root": "two-domains", "device": CPU, **changes})


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made_step(
    progress: float = 0.3, sizes: tuple[int, int, int] = (6, 3, 4), width: int = 5, classes: int = 3
) -> AdaptationStep:
    """Return a step with features and logits that have gradients, the parts of the given sizes."""
    parts = [
        DomainOutputs(
            torch.arange(size),
            torch.arange(size) % classes,
            draw(size, width, seed=place).requires_grad_(),
            draw(size, classes, seed=10 + place).requires_grad_(),
        )
        for place, size in enumerate(sizes)
    ]
    return AdaptationStep(*parts, progress=progress)
