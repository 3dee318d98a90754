"""Solves episodes, and poses them inside the classes that a method may see."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.info import TaskInfo
from tlbench.data.dataset import Split
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.evaluation import ValidationScores, score_logits
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import AdaptingEpisodeLearner, EmbeddingEpisodeLearner

_EMBEDDED = 2**20  # values of support and queries that a learner is handed at once: what stays in a CPU's cache
_RAW = 2**24  # the same for a solver, which works on them for long


def classes_with_examples(split: Split, examples: int) -> NDArray[np.int64]:
    """Return the labels that have at least ``examples`` examples in a split."""
    return np.flatnonzero(np.bincount(split.labels) >= examples)


def validation_episodes(task_info: TaskInfo, val: Split | None, count: int, ctx: Context) -> Episodes | None:
    """Return episodes of the validation classes, as like the test episodes as those classes allow; or None.

    With fewer classes than ways the episodes have fewer ways; queries are as many as the classes have examples for.
    That there are none although there are such classes is noted.

    Args:
        task_info: Shots, ways and queries of the test episodes.
        val: The examples of the validation classes.
        count: Number of episodes.
        ctx: Decides which, and takes the note.
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
        seed=ctx.seed("validation episodes"),
    )


def episode_inputs(learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner, split: Split, ctx: Context) -> Tensor:
    """Return what the learner is handed of each example (n, ...): the raw input, or its embedding, made once.

    Embeddings lie on the device; raw inputs on the CPU, from where episodes are moved as they are solved.
    """
    if isinstance(learner, AdaptingEpisodeLearner):
        return torch.from_numpy(split.x)
    if learner.encoder is None:
        return ctx.frozen_features(split)
    return embed(learner.encoder, split.x, None, ctx.device).to(ctx.device)


def episode_logits(
    learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner,
    inputs: Tensor,
    support: Tensor,
    labels: Tensor,
    query: Tensor,
    ways: int,
    device: torch.device,
) -> Tensor:
    """Return logits (E, Q, ways) of all queries, in single precision on the CPU; many episodes are handed over at once.

    Args:
        learner: The fitted learner.
        inputs: What :func:`episode_inputs` returned (n, ...).
        support: Positions of the support examples in it (E, S).
        labels: Their labels (E, S).
        query: Positions of the queries (E, Q).
        ways: Number of classes in each episode.
        device: Where to solve them.
    """
    solves = isinstance(learner, AdaptingEpisodeLearner)
    size = inputs[0].numel() * (support.shape[1] + query.shape[1])
    step = max(1, (_RAW if solves else _EMBEDDED) // size)
    out = []
    for s, y, q in zip(support.split(step), labels.split(step), query.split(step), strict=True):
        with torch.set_grad_enabled(solves):
            logits = learner.classify(_take(inputs, s).to(device), y.to(device), _take(inputs, q).to(device), ways)
        out.append(logits.detach().float().cpu())
    return torch.cat(out)


def _take(inputs: Tensor, rows: Tensor) -> Tensor:
    """Return inputs (E, n, ...) of positions (E, n), which takes a third of the time of ``inputs[rows]``."""
    return inputs.index_select(0, rows.flatten().to(inputs.device)).unflatten(0, rows.shape)


def episode_labels(rows: NDArray[np.int64]) -> Tensor:
    """Return the labels (E, ways * n) of rows (E, ways, n)."""
    count, ways, each = rows.shape
    return torch.arange(ways).repeat_interleave(each).expand(count, -1)


def episode_scores(
    learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner, val: Split, episodes: Episodes, ctx: Context
) -> ValidationScores:
    """Return a learner's scores over episodes; every example is embedded once, the episodes index it.

    Args:
        learner: The learner.
        val: The examples that the episodes count.
        episodes: Positions in ``val`` of support (E, ways, shots) and queries (E, ways, queries).
        ctx: Device, features and processes.
    """
    support, query = (torch.from_numpy(part).flatten(1) for part in (episodes.support, episodes.query))
    inputs, ways = episode_inputs(learner, val, ctx), episodes.support.shape[1]
    logits = episode_logits(learner, inputs, support, episode_labels(episodes.support), query, ways, ctx.device)
    found = score_logits(logits, episode_labels(episodes.query))
    means = all_reduce_sum(torch.tensor(found, dtype=torch.float64, device=ctx.device), ctx) / ctx.world
    return ValidationScores(*means.tolist())
