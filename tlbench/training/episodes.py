"""Episodes inside the classes a method may see: which classes can pose them, and the scores on them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.info import TaskInfo
from tlbench.data.dataset import Split
from tlbench.data.sampling import Episodes, draw_episodes
from tlbench.training.collect import total
from tlbench.training.context import Context
from tlbench.training.evaluate import Scores, score_logits
from tlbench.training.features import embed
from tlbench.training.predictor import EpisodeLearner

_CHUNK = 2**24  # floats of support and queries that are scored at once


def usable_classes(split: Split, examples: int) -> NDArray[np.int64]:
    """Return the labels that have at least ``examples`` examples in a split."""
    return np.flatnonzero(np.bincount(split.labels) >= examples)


def validation_episodes(task_info: TaskInfo, val: Split | None, count: int, seed: int) -> Episodes | None:
    """Return episodes of the validation classes, as like the test episodes as those classes allow; or None.

    With fewer classes than ways the episodes have fewer ways; queries are as many as the classes have examples for.

    Args:
        task_info: Shots, ways and queries of the test episodes.
        val: The examples of the validation classes.
        count: Number of episodes.
        seed: Decides which.
    """
    shots = task_info.shots
    if val is None or not isinstance(shots, int):
        return None
    classes = usable_classes(val, shots + 1)
    if len(classes) < 2:
        return None
    spare = int(np.bincount(val.labels)[classes].min()) - shots
    return draw_episodes(
        val.labels,
        np.arange(len(val)),
        tuple(classes.tolist()),
        ways=min(task_info.classes, len(classes)),
        shots=shots,
        queries=min(int(task_info.options.get("queries", 15)), spare),
        count=count,
        seed=seed,
    )


@torch.no_grad()
def episode_scores(learner: EpisodeLearner, val: Split, episodes: Episodes, ctx: Context) -> Scores:
    """Return a learner's scores over episodes; every example is embedded once, the episodes index it.

    Args:
        learner: The learner; without an encoder the context's frozen features stand in.
        val: The examples that the episodes count.
        episodes: Positions in ``val`` of support (E, ways, shots) and queries (E, ways, queries).
        ctx: Device, features and processes.
    """
    if learner.encoder is None:
        z = ctx.frozen_features(val)
    else:
        z = embed(learner.encoder, val.x, None, ctx.device).to(ctx.device)
    support, query = (torch.from_numpy(part) for part in (episodes.support, episodes.query))
    ways = support.shape[1]
    step = max(1, _CHUNK // (z.shape[1] * (support[0].numel() + query[0].numel())))
    logits = torch.cat(
        [
            learner.classify(z[s.flatten(1)], _labels(s).to(z.device), z[q.flatten(1)], ways)
            for s, q in zip(support.split(step), query.split(step), strict=True)
        ]
    )
    found = score_logits(logits, _labels(query).to(z.device))
    means = total(torch.tensor(found, dtype=torch.float64, device=ctx.device), ctx) / ctx.world
    return Scores(*means.tolist())


def _labels(rows: Tensor) -> Tensor:
    """Labels (E, ways * n) of rows (E, ways, n)."""
    return torch.arange(rows.shape[1]).repeat_interleave(rows.shape[2]).expand(len(rows), -1)
