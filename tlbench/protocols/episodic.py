"""Episodic: learn on some classes, then classify N ways from K examples of classes never seen.

Classes are split into train, val and test classes with no overlap. The method learns on the first, is selected on
episodes of the second, and is scored on a seeded list of episodes of the third that is the same for every method.
Support examples and queries come in random order, so no method may take their position for their label.

The answer to one query may not depend on the other queries; a method that needs them declares itself transductive and
is listed apart. That is checked: a few episodes are also solved with half of their queries left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from tlbench.core.class_splits import deal_classes
from tlbench.core.config import Settings
from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, Dataset, Split, Task, take
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.protocols._scores import classification_scores, evidence, validation_outcome
from tlbench.training.fewshot.episodes import episode_inputs, episode_labels, episode_logits
from tlbench.training.predictor import AdaptingEpisodeLearner, EmbeddingEpisodeLearner

if TYPE_CHECKING:
    from tlbench.training.context import Context

VERSION = 2  # 1 asked the queries in the order of their classes
_CHECKED = 4  # episodes that are also solved with fewer queries, and examples that are also embedded by themselves
_TOLERANCE = 1e-3  # of the largest value: rounding, where other batch sizes choose other kernels


class Options(Settings):
    """How episodes are made."""

    ways: int = Field(5, ge=2, description="classes in an episode")
    queries: int = Field(15, ge=1, description="test examples of each class in an episode")
    episodes: int = Field(1000, ge=1, description="test episodes; the field's minimum is 600")


def _part(dataset: Dataset, classes: tuple[int, ...]) -> Split:
    rows = np.flatnonzero(np.isin(dataset.y, classes) & (dataset.part <= TEST))
    position = np.full(max(classes) + 1, -1)
    position[list(classes)] = np.arange(len(classes))
    return take(dataset, rows, position[dataset.y[rows]])


def draw(info: TaskInfo, dataset: Dataset) -> tuple[Task, tuple[int, ...]]:
    """Return the task (train and val classes with all their examples) and the test classes."""
    classes = deal_classes(info.dataset)
    task = Task(info=info, train=_part(dataset, classes["train"]), val=_part(dataset, classes["val"]))
    return task, classes["test"]


def run(
    info: TaskInfo,
    dataset: Dataset,
    seed: int,
    fit: Callable[[Task], EmbeddingEpisodeLearner | AdaptingEpisodeLearner],
    ctx: Context,
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
    if ctx.sealed:
        return validation_outcome(ctx, learner.footprint())
    options = Options(**info.options)
    assert isinstance(info.shots, int)
    test = _part(dataset, test_classes)
    episodes = draw_episodes(
        test.labels,
        np.arange(len(test)),
        range(len(test_classes)),
        EpisodeShape(ways=options.ways, shots=info.shots, queries=options.queries),
        count=options.episodes,
        seed=derive_seed(info.dataset.fingerprint, info.shots, seed, "test episodes"),
        names=[info.dataset.classes[label] for label in test_classes],
    )
    inputs = episode_inputs(learner, test, ctx)
    transductive = _is_transductive(learner, test, inputs, episodes, ctx)
    logits, labels = score(learner, inputs, episodes, seed, ctx.device)
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
        transductive=transductive,
        footprint=learner.footprint(),
        notes=tuple(ctx.notes),
        **evidence(logits.flatten(0, 1), labels.flatten()),
    )


def score(
    learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner,
    inputs: Tensor,
    episodes: Episodes,
    seed: int,
    device: torch.device,
    *,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return logits (E, Q, ways) and labels (E, Q) of the queries, in the random order in which they are asked.

    Args:
        learner: The fitted learner.
        inputs: What the learner is handed of each example (n, ...).
        episodes: Positions of support and queries in ``inputs``.
        seed: Decides the order of support and queries.
        device: Where to score.
        most: Ask only the first so many queries; None asks all.
    """
    (support, labels), (query, truth) = (
        _shuffled(rows, derive_seed(f"{what} order", seed))
        for what, rows in (("support", episodes.support), ("query", episodes.query))
    )
    query, truth, ways = query[:, :most], truth[:, :most], episodes.support.shape[1]
    return episode_logits(learner, inputs, support, labels, query, ways, device), truth


def _shuffled(rows: NDArray[np.int64], seed: int) -> tuple[Tensor, Tensor]:
    """Return positions and labels (E, ways * n) of rows (E, ways, n), each episode in a random order of its own."""
    positions, labels = torch.from_numpy(rows).flatten(1), episode_labels(rows)
    order = torch.rand(positions.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return positions.gather(1, order), labels.gather(1, order)


def _is_transductive(
    learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner,
    test: Split,
    inputs: Tensor,
    episodes: Episodes,
    ctx: Context,
) -> bool:
    """Say whether the answer to a query may depend on the others, as the learner declares it, and hold it to that.

    Raises:
        ValueError: Answers change when some of the queries are left out, or embeddings when some of the examples are,
            although the learner does not declare it.
    """
    if learner.transductive:
        return True
    few = Episodes(*(part[:_CHECKED] for part in (episodes.support, episodes.query, episodes.classes)))
    half = few.query[0].size // 2
    whole, part = (score(learner, inputs, few, 0, ctx.device, most=most)[0] for most in (None, half))
    pairs = [(whole[:, :half], part)]
    if isinstance(learner, EmbeddingEpisodeLearner) and learner.encoder is not None:
        alone = Split(test.x[:_CHECKED], test.labels[:_CHECKED], test.rows[:_CHECKED])
        pairs.append((inputs[:_CHECKED], episode_inputs(learner, alone, ctx)))
    if any(_differ(*pair) for pair in pairs):
        raise ValueError(
            "predictions depend on which other queries are asked, but the method does not declare itself transductive"
        )
    return False


def _differ(one: Tensor, other: Tensor) -> bool:
    scale = (one - one.mean(-1, keepdim=True)).abs().max()
    return bool((one - other).abs().max() > _TOLERANCE * scale)
