"""Episodic: learn on some classes, then classify N ways from K examples of classes not seen before.

Classes are split into train, val and test classes without overlap. The method learns on the first, is selected on
episodes of the second, and is scored on a seeded list of episodes of the third that is the same for every method.
Support examples and queries come in random order, so that their positions carry no information on their labels.

The prediction for one query must not depend on the other queries; a method that violates this declares itself
transductive and is listed separately. That is checked: a few episodes are also solved with half of their queries.

In place of a draw, ``episodes: {file: PATH}`` poses the episodes of a file (:mod:`tlbench.data.episode_file`) as they
are, whose ways, shots and queries may differ; the accuracy is that over all their queries. Their examples are of test
classes of the dataset, so that no method is trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tlbench.core.class_splits import deal_classes
from tlbench.core.config import Settings
from tlbench.core.episode_file import EpisodesOption, gives_episodes
from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.core.record import MOST_CLASSES, Outcome, pack_classes
from tlbench.data.dataset import Dataset, Split, Task, take
from tlbench.data.episode_file import GivenEpisode
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import (
    PosedEpisodes,
    episode_inputs,
    episode_labels,
    episode_logits,
    in_random_order,
    pose_given,
    validation_episodes,
)
from tlbench.training.outcomes import scored_outcome, validation_outcome
from tlbench.training.predictor import EmbeddingEpisodeLearner, EpisodeLearner

QUICK = {"ways": 2, "queries": 3, "episodes": 20}
VERSION = 2  # version 1 had the queries in the order of their classes
_VALIDATION_EPISODES = 200  # of a trial, whatever its method validates on while it trains
_CHECKED = 4  # episodes that are also solved with fewer queries, and examples that are also embedded by themselves
_IMPOSSIBLE = 1e4  # how far the logit of a way that an episode lacks is below its lowest one
_TOLERANCE = 1e-3  # relative to the largest value: rounding differences between kernels for other batch sizes


class Options(Settings):
    """Composition of the episodes."""

    ways: int = Field(5, ge=2, description="classes in an episode")
    queries: int = Field(15, ge=1, description="test examples of each class in an episode")
    episodes: EpisodesOption = Field(
        1000, description="test episodes, of which the field's minimum is 600; or {file: PATH}, which gives them"
    )


def draw(info: TaskInfo, dataset: Dataset) -> tuple[Task, tuple[int, ...]]:
    """Return the task (train and val classes with all their examples) and the test classes.

    Args:
        info: Facts of the task.
        dataset: The dataset whose classes are split.
    """
    classes = deal_classes(info.dataset)
    task = Task(info=info, train=_examples(dataset, classes["train"]), val=_examples(dataset, classes["val"]))
    return task, classes["test"]


def _examples(dataset: Dataset, classes: tuple[int, ...]) -> Split:
    """Return all examples of some classes; the label of an example is the position of its class."""
    rows = dataset.rows_of_classes(classes)
    position = np.full(max(classes) + 1, -1)
    position[list(classes)] = np.arange(len(classes))
    return take(dataset, rows, position[dataset.y[rows]])


def run(
    info: TaskInfo, dataset: Dataset, seed: int, fit: Callable[[Task], EpisodeLearner], ctx: Context
) -> Outcome | None:
    """Split the classes, fit, and score on the test episodes.

    Args:
        info: Facts of the task.
        dataset: The dataset whose classes are split.
        seed: The cell's seed, which determines the episodes.
        fit: Fits the method on a task.
        ctx: The cell's context.

    Returns:
        The outcome; None in every process of a group but the first.
    """
    task, test_classes = draw(info, dataset)
    learner = fit(task)
    if not ctx.group.is_first:
        return None
    if ctx.validation_only:
        return _validated(info, task, learner, ctx)
    test = _examples(dataset, test_classes)
    if gives_episodes(info.options):
        return _given(learner, test, ctx)
    options = Options(**info.options)
    assert isinstance(info.shots, int)
    assert isinstance(options.episodes, int)
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
    posed = _posed(episodes, seed)
    transductive = _is_transductive(learner, test, inputs, posed, ctx)
    logits, labels = _logits(learner, inputs, posed, ctx.device), posed.truth
    correct = (logits.argmax(-1) == labels).double().mean(1)
    further: dict[str, float] = {}
    if len(correct) > 1:
        further["accuracy_ci95"] = 1.96 * correct.std().item() / len(correct) ** 0.5
    outcome = scored_outcome(
        ctx,
        learner.footprint(),
        logits.flatten(0, 1),
        labels.flatten(),
        further,
        group=labels.shape[1],
        transductive=transductive,
    )
    return outcome.model_copy(update={"test_classes": _classes_of_queries(episodes, labels, test_classes)})


def _classes_of_queries(episodes: Episodes, labels: Tensor, test_classes: tuple[int, ...]) -> str:
    """Return the packed classes of all queries in the order in which they are scored; nothing where they are too many.

    Args:
        episodes: The test episodes, whose classes are positions among the test classes.
        labels: Labels of the queries (E, Q), positions among the classes of their episodes.
        test_classes: Labels of the test classes.
    """
    if max(test_classes) >= MOST_CLASSES:
        return ""
    positions = np.take_along_axis(episodes.classes, labels.numpy(), axis=1)
    return pack_classes(np.array(test_classes)[positions].flatten().tolist())


def _validated(info: TaskInfo, task: Task, learner: EpisodeLearner, ctx: Context) -> Outcome:
    """Score a trial on episodes of the validation classes, which are the same for all trials of a search."""
    episodes = validation_episodes(info, task.val, _VALIDATION_EPISODES, ctx)
    if episodes is None or task.val is None:
        return validation_outcome(ctx, learner.footprint())
    inputs = episode_inputs(learner, task.val, ctx)
    logits, labels = score(learner, inputs, episodes, ctx.validation_seed("order"), ctx.device)
    answers = logits.flatten(0, 1), labels.flatten()
    return validation_outcome(ctx, learner.footprint(), answers, group=labels.shape[1])


def score(
    learner: EpisodeLearner, inputs: Tensor, episodes: Episodes, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return logits (E, Q, ways) and labels (E, Q) of the queries, in a random order.

    Args:
        learner: The fitted learner.
        inputs: Inputs of the learner for each example (n, ...): :func:`episode_inputs`.
        episodes: Positions of support and queries in ``inputs``.
        seed: Seed of the order of support and queries.
        device: Where to solve the episodes.
    """
    posed = _posed(episodes, seed)
    return _logits(learner, inputs, posed, device), posed.truth


def _posed(episodes: Episodes, seed: int) -> PosedEpisodes:
    """Return drawn episodes as they are put to a learner, support and queries in a random order."""
    (support, labels), (query, truth) = (
        in_random_order(torch.from_numpy(rows).flatten(1), episode_labels(rows), derive_seed(f"{what} order", seed))
        for what, rows in (("support", episodes.support), ("query", episodes.query))
    )
    return PosedEpisodes(support, labels, query, truth, episodes.support.shape[1])


def _logits(learner: EpisodeLearner, inputs: Tensor, posed: PosedEpisodes, device: torch.device) -> Tensor:
    return episode_logits(learner, inputs, posed.support, posed.labels, posed.query, posed.ways, device)


def _given(learner: EpisodeLearner, test: Split, ctx: Context) -> Outcome:
    """Score the episodes of a file, in its order.

    Of an episode with fewer ways than another, the logits of the ways that it lacks are so low that their probability
    is 0.
    """
    given = ctx.episodes
    assert given, "the episodes of the file are in the context"
    inputs, batches = episode_inputs(learner, test, ctx), pose_given(given, test.rows)
    transductive = [_is_transductive(learner, test, inputs, posed, ctx) for posed, _ in batches]
    width = max(posed.ways for posed, _ in batches)
    solved: dict[int, tuple[Tensor, Tensor]] = {}
    for posed, numbers in batches:
        logits = _logits(learner, inputs, posed, ctx.device)
        lacking = (logits.min(-1, keepdim=True).values - _IMPOSSIBLE).expand(-1, -1, width - posed.ways)
        solved |= dict(
            zip(numbers.tolist(), zip(torch.cat([logits, lacking], -1), posed.truth, strict=True), strict=True)
        )
    logits, labels = (torch.cat([solved[number][part] for number in range(len(given))]) for part in (0, 1))
    sizes = [len(each.query) for each in given]
    ctx.notes.append(f"{len(given)} episodes as a file gives them{_range_of(given)}")
    return scored_outcome(
        ctx,
        learner.footprint(),
        logits,
        labels,
        _episode_interval(logits.argmax(-1) == labels, sizes),
        group=sizes[0] if len(set(sizes)) == 1 else 1,
        transductive=any(transductive),
    )


def _range_of(given: Sequence[GivenEpisode]) -> str:
    """Return which ways and shots the episodes of a file have, where these differ."""
    ways = {int(each.labels.max()) + 1 for each in given}
    shots = {int(count) for each in given for count in np.bincount(each.labels)}
    ranges = ((name, min(found), max(found)) for name, found in (("ways", ways), ("shots", shots)))
    told = [f"{low} to {high} {name}" for name, low, high in ranges if low < high]
    return f", of {' and '.join(told)}" if told else ""


def _episode_interval(correct: Tensor, sizes: Sequence[int]) -> dict[str, float]:
    """Return the half width of the 95% interval of the accuracy over all queries, by the spread between episodes.

    It is that of a ratio of two sums over episodes (Cochran 1977, Sampling Techniques, section 6.3): with episodes of
    one size, that of the mean of their accuracies.

    Args:
        correct: Whether each query is answered right (N,), episode by episode.
        sizes: Number of queries of each episode.
    """
    if len(sizes) < 2:
        return {}
    right = torch.stack([part.sum() for part in correct.double().split(list(sizes))])
    count = torch.tensor(sizes, dtype=torch.float64)
    residuals = right - right.sum() / count.sum() * count
    error = (len(sizes) / (len(sizes) - 1) * residuals.square().sum()).sqrt() / count.sum()
    return {"accuracy_ci95": 1.96 * error.item()}


def _is_transductive(learner: EpisodeLearner, test: Split, inputs: Tensor, posed: PosedEpisodes, ctx: Context) -> bool:
    """Return whether the learner declares itself transductive; if it does not, check that it is not.

    Raises:
        ValueError: Predictions change when some of the queries are left out, or embeddings when some of the examples
            are, although the learner does not declare itself transductive.
    """
    if learner.transductive:
        return True
    few = posed.first(_CHECKED)
    half = few.query.shape[1] // 2
    pairs = []
    if half:
        whole, part = (_logits(learner, inputs, each, ctx.device) for each in (few, few.first(_CHECKED, half)))
        pairs.append((whole[:, :half], part))
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
