"""Episodic: learn on some classes, then classify N ways from K examples of classes never seen.

Classes are split into train, val and test classes with no overlap. The method learns on the first, is selected on
episodes of the second, and is scored on a seeded list of episodes of the third that is the same for every method.
Support examples come in random order, so no method may take their position for their label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import Dataset, Split, Task, take
from tlbench.data.sampling import Episodes, deal_classes, draw_episodes
from tlbench.protocols._scores import classification_scores, evidence
from tlbench.training.features import embed
from tlbench.training.predictor import EpisodeLearner

if TYPE_CHECKING:
    from tlbench.training.context import Context

VERSION = 1
_CHUNK = 2**24  # floats of support and queries that are scored at once


class Options(Settings):
    """How episodes are made."""

    ways: int = Field(5, ge=2, description="classes in an episode")
    queries: int = Field(15, ge=1, description="test examples of each class in an episode")
    episodes: int = Field(1000, ge=1, description="test episodes; the field's minimum is 600")


def _part(dataset: Dataset, classes: tuple[int, ...]) -> Split:
    rows = np.flatnonzero(np.isin(dataset.y, classes))
    position = np.full(max(classes) + 1, -1)
    position[list(classes)] = np.arange(len(classes))
    return take(dataset, rows, position[dataset.y[rows]])


def draw(info: TaskInfo, dataset: Dataset) -> tuple[Task, tuple[int, ...]]:
    """Return the task (train and val classes with all their examples) and the test classes."""
    classes = deal_classes(info.dataset)
    task = Task(info=info, train=_part(dataset, classes["train"]), val=_part(dataset, classes["val"]))
    return task, classes["test"]


def run(
    info: TaskInfo, dataset: Dataset, seed: int, fit: Callable[[Task], EpisodeLearner], ctx: Context
) -> Outcome | None:
    """Draw the task, fit, and score on the test episodes; None in every process but the first.

    Args:
        info: Facts of the task.
        dataset: The dataset whose classes are split.
        seed: The cell's seed, which decides the episodes.
        fit: The method, closed over backbone, parameters and context.
        ctx: The cell's context.
    """
    task, test_classes = draw(info, dataset)
    learner = fit(task)
    if ctx.rank != 0:
        return None
    rows = np.flatnonzero(np.isin(dataset.y, test_classes))
    options = Options(**info.options)
    assert isinstance(info.shots, int)
    episodes = draw_episodes(
        dataset.y,
        rows,
        test_classes,
        ways=options.ways,
        shots=info.shots,
        queries=options.queries,
        count=options.episodes,
        seed=derive_seed(info.dataset.fingerprint, info.shots, seed, "test episodes"),
        names=info.dataset.classes,
    )
    if learner.encoder is not None:
        z = embed(learner.encoder, dataset.x, rows, ctx.device)
    elif ctx.features is not None:
        z = ctx.features.take(rows)
    else:
        raise RuntimeError("a learner without an encoder needs frozen features")
    logits, labels = score(learner, z, rows, episodes, seed, ctx.device)
    correct = (logits.argmax(-1) == labels).double().mean(1)
    scores = classification_scores(logits.flatten(0, 1), labels.flatten())
    if len(correct) > 1:
        scores["accuracy_ci95"] = 1.96 * correct.std().item() / len(correct) ** 0.5
    return Outcome(
        scores=scores,
        validation=ctx.validation,
        curves=ctx.curves,
        selected=ctx.selected,
        group=labels.shape[1],
        footprint=learner.footprint(),
        notes=tuple(ctx.notes),
        **evidence(logits.flatten(0, 1), labels.flatten()),
    )


def score(
    learner: EpisodeLearner, z: Tensor, rows: np.ndarray, episodes: Episodes, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return logits (E, Q, ways) and labels (E, Q) of all queries, many episodes at once.

    Args:
        learner: The fitted learner.
        z: Embedded examples (n, D) of the rows ``rows`` (n,), ascending.
        rows: Row numbers in the dataset.
        episodes: Row numbers of support and queries.
        seed: Decides the order of the support examples.
        device: Where to score.
    """
    ways = episodes.support.shape[1]
    out = []
    for support, labels, query in _chunks(episodes, rows, seed, z.shape[1]):
        with torch.no_grad():
            logits = learner.classify(z[support].to(device), labels.to(device), z[query].to(device), ways)
        out.append(logits.float().cpu())
    count, _, queries = episodes.query.shape
    return torch.cat(out), torch.arange(ways).repeat_interleave(queries).expand(count, -1)


def _chunks(episodes: Episodes, rows: np.ndarray, seed: int, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    count, ways, shots = episodes.support.shape
    support = torch.from_numpy(np.searchsorted(rows, episodes.support.reshape(count, -1)))
    query = torch.from_numpy(np.searchsorted(rows, episodes.query.reshape(count, -1)))
    labels = torch.arange(ways).repeat_interleave(shots).expand(count, -1)
    generator = torch.Generator().manual_seed(derive_seed("support order", seed))
    order = torch.rand(support.shape, generator=generator).argsort(1)
    support, labels = support.gather(1, order), labels.gather(1, order)
    step = max(1, _CHUNK // (width * (support.shape[1] + query.shape[1])))
    for start in range(0, count, step):
        piece = slice(start, start + step)
        yield support[piece], labels[piece], query[piece]
