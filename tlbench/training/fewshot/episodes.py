"""Solving episodes with a fitted learner, and sampling episodes of the validation classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.hashing import derive_seed
from tlbench.core.info import TaskInfo
from tlbench.data.dataset import Split
from tlbench.data.episode_file import GivenEpisode
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import AdaptingEpisodeLearner, EpisodeLearner
from tlbench.training.validation_scores import ValidationScores, score_logits

# Input values of the support and query examples that are passed to a learner at once: as many as fit into a CPU's cache
# for one that reads embeddings; more for one that trains on them for long.
_EMBEDDED_VALUES, _RAW_VALUES = 2**20, 2**24


class PosedEpisodes(NamedTuple):
    """Episodes of one shape, by positions of examples, as they are put to a learner.

    Attributes:
        support: Positions of the support (E, S).
        labels: Their labels (E, S), 0 ... ways - 1.
        query: Positions of the queries (E, Q).
        truth: Their labels (E, Q).
        ways: Number of classes in each episode.
    """

    support: Tensor
    labels: Tensor
    query: Tensor
    truth: Tensor
    ways: int

    def first(self, episodes: int, queries: int | None = None) -> PosedEpisodes:
        """Return the first episodes, with their first queries; None is all of these."""
        return PosedEpisodes(
            self.support[:episodes],
            self.labels[:episodes],
            self.query[:episodes, :queries],
            self.truth[:episodes, :queries],
            self.ways,
        )


def pose_given(given: Sequence[GivenEpisode], rows: NDArray[np.int64]) -> list[tuple[PosedEpisodes, NDArray[np.int64]]]:
    """Return episodes of a file in batches of one shape, with the numbers of the episodes in each.

    Support and queries of an episode come in a random order, so that positions carry no information on labels. It is
    the same for every cell.

    Args:
        given: The episodes, by rows of the dataset.
        rows: Rows of the examples that positions refer to, in ascending order.
    """
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for number, each in enumerate(given):
        shape = int(each.labels.max()) + 1, len(each.support), len(each.query)
        shapes.setdefault(shape, []).append(number)
    posed = []
    for (ways, _, _), numbers in shapes.items():
        support, labels, query, truth = (
            torch.from_numpy(np.stack(part)) for part in zip(*(given[number] for number in numbers), strict=True)
        )
        places = (torch.from_numpy(np.searchsorted(rows, part)) for part in (support, query))
        (support, labels), (query, truth) = (
            in_random_order(positions, of, derive_seed("given episodes", what))
            for what, positions, of in zip(("support", "query"), places, (labels, truth), strict=True)
        )
        posed.append((PosedEpisodes(support, labels, query, truth, ways), np.array(numbers)))
    return posed


def in_random_order(positions: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return positions and labels (E, n), each episode in a random order of its own."""
    order = torch.rand(positions.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return positions.gather(1, order), labels.gather(1, order)


def classes_with_examples(split: Split, examples: int) -> NDArray[np.int64]:
    """Return the labels that have at least ``examples`` examples in a split."""
    return np.flatnonzero(np.bincount(split.labels) >= examples)


def validation_episodes(task_info: TaskInfo, val: Split | None, count: int, ctx: Context) -> Episodes | None:
    """Return episodes of the validation classes, as similar to the test episodes as those classes allow.

    With fewer classes than ways the episodes have fewer ways; the number of queries is limited by the examples of the
    smallest class. If there are validation classes but no episode can be sampled, that is noted in the context.

    Args:
        task_info: Shots, ways and queries of the test episodes.
        val: The examples of the validation classes.
        count: Number of episodes.
        ctx: Randomness and notes.

    Returns:
        The episodes, or None where there are none.
    """
    shots = task_info.shots
    if val is None or not isinstance(shots, int):
        return None
    classes = classes_with_examples(val, shots + 1)
    if len(classes) < 2:
        ctx.notes.append(f"fewer than two validation classes have {shots + 1} examples: nothing was selected")
        return None
    spare = int(np.bincount(val.labels)[classes].min()) - shots
    return draw_episodes(
        val.labels,
        np.arange(len(val)),
        tuple(classes.tolist()),
        EpisodeShape(
            ways=min(task_info.classes, len(classes)),
            shots=shots,
            queries=min(int(task_info.options.get("queries", 15)), spare),
        ),
        count=count,
        seed=ctx.validation_seed("validation episodes"),
    )


def episode_inputs(learner: EpisodeLearner, split: Split, ctx: Context) -> Tensor:
    """Return the inputs of a learner (n, ...) for all examples of a split: raw inputs, or embeddings.

    Embeddings lie on the device; raw inputs on the CPU, from where each episode is moved to the device.
    """
    if isinstance(learner, AdaptingEpisodeLearner):
        return torch.from_numpy(split.x)
    if learner.encoder is None:
        return ctx.frozen_features(split)
    return embed(learner.encoder, split.x, None, ctx.device).to(ctx.device)


def episode_logits(
    learner: EpisodeLearner,
    inputs: Tensor,
    support: Tensor,
    labels: Tensor,
    query: Tensor,
    ways: int,
    device: torch.device,
) -> Tensor:
    """Return logits (E, Q, ways) of all queries, in float32 on the CPU; many episodes are solved at once.

    Args:
        learner: The fitted learner.
        inputs: The result of :func:`episode_inputs` (n, ...).
        support: Positions of the support examples in ``inputs`` (E, S).
        labels: Their labels (E, S).
        query: Positions of the queries (E, Q).
        ways: Number of classes in each episode.
        device: Where to solve them.
    """
    adapts = isinstance(learner, AdaptingEpisodeLearner)
    values = inputs[0].numel() * (support.shape[1] + query.shape[1])
    size = max(1, (_RAW_VALUES if adapts else _EMBEDDED_VALUES) // values)
    out = []
    for s, y, q in zip(support.split(size), labels.split(size), query.split(size), strict=True):
        with torch.set_grad_enabled(adapts):
            logits = learner.classify(_take(inputs, s).to(device), y.to(device), _take(inputs, q).to(device), ways)
        out.append(logits.detach().float().cpu())
    return torch.cat(out)


def _take(inputs: Tensor, rows: Tensor) -> Tensor:
    """Return inputs (E, n, ...) at positions (E, n); it takes a third of the time of ``inputs[rows]``."""
    taken: Tensor = inputs.index_select(0, rows.flatten().to(inputs.device)).unflatten(0, rows.shape)
    return taken


def episode_labels(rows: NDArray[np.int64]) -> Tensor:
    """Return the labels (E, ways * n) of rows (E, ways, n)."""
    count, ways, each = rows.shape
    return torch.arange(ways).repeat_interleave(each).expand(count, -1)


def episode_scores(learner: EpisodeLearner, val: Split, episodes: Episodes, ctx: Context) -> ValidationScores:
    """Return a learner's scores over episodes, averaged over the processes of a group.

    Args:
        learner: The learner.
        val: The examples that the positions of the episodes refer to.
        episodes: Positions in ``val`` of support (E, ways, shots) and queries (E, ways, queries).
        ctx: Device, features and processes.
    """
    support, query = (torch.from_numpy(part).flatten(1) for part in (episodes.support, episodes.query))
    inputs, ways = episode_inputs(learner, val, ctx), episodes.support.shape[1]
    logits = episode_logits(learner, inputs, support, episode_labels(episodes.support), query, ways, ctx.device)
    scores = score_logits(logits, episode_labels(episodes.query))
    own = torch.tensor([scores.accuracy, scores.nll], dtype=torch.float64, device=ctx.device)
    means = all_reduce_sum(own, ctx.group) / ctx.group.world_size
    return ValidationScores(*means.tolist())


def validate_on_episodes(
    learner: EpisodeLearner, task_info: TaskInfo, val: Split | None, count: int, ctx: Context
) -> None:
    """Score a learner on validation episodes, and put the scores into ``ctx.validation``; nothing where there are none.

    Args:
        learner: The fitted learner.
        task_info: Shots, ways and queries of the test episodes.
        val: The examples of the validation classes.
        count: Number of episodes.
        ctx: Device, features, randomness and processes.
    """
    episodes = validation_episodes(task_info, val, count, ctx)
    if episodes is not None and val is not None:
        ctx.report_validation(episode_scores(learner, val, episodes, ctx))
