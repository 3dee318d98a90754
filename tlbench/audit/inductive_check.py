"""Checks that predictions do not depend on the batch: predicts the same test examples in other orders and batches.

Where a method says that it is transductive, only what must hold for it too is checked: episodes are independent of each
other, and the order of queries does not matter. In adaptation the model that the method returns is checked, which is
the last of those that it proposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.audit.changed_labels import scored_rows
from tlbench.core.cell import Cell
from tlbench.core.class_splits import deal_classes
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import Dataset, Split, take
from tlbench.data.sampling import EpisodeShape, draw_episodes
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import episode_inputs, episode_labels, episode_logits, pose_given
from tlbench.training.frozen_features import EMBED_BATCH_SIZE, embed
from tlbench.training.predictor import AdaptingEpisodeLearner, EmbeddingEpisodeLearner, FeaturePredictor

# Relative to the largest deviation of a logit from its mean; other batch sizes choose other kernels, which round
# otherwise. The same value as in the episodic protocol.
ROUNDING = 1e-3
_SOLVER_FACTOR = 10  # for a network that is trained on the episode: training amplifies rounding
_EXAMPLES, _ALONE, _SMALL_BATCH, _EPISODES = 300, 8, 7, 4

Rows = NDArray[np.int64]


class _Comparison(NamedTuple):
    """Predictions of the same examples, made in two ways.

    Attributes:
        varied: What differs between the ways, in words.
        distance: How far apart the logits are, see :func:`_distance`.
        allowed: How far they may be.
    """

    varied: str
    distance: float
    allowed: float


def sample_logits(fitted: Any, cell: Cell, dataset: Dataset, ctx: Context) -> Tensor:
    """Return the logits of a few fixed test examples, or of the queries of a few fixed test episodes."""
    if isinstance(fitted, EmbeddingEpisodeLearner | AdaptingEpisodeLearner):
        return _Episodes(fitted, cell, dataset, ctx).logits
    return _predict(fitted, dataset, _sampled_rows(cell, dataset), EMBED_BATCH_SIZE, ctx)


def batch_dependence(fitted: Any, cell: Cell, dataset: Dataset, ctx: Context) -> str:
    """Return in words what predictions depend on though they may not; nothing where all is well.

    Args:
        fitted: What the method's ``fit`` returned.
        cell: The cell.
        dataset: The dataset as the fitted method reads it.
        ctx: A context with the features that it may read.
    """
    if isinstance(fitted, EmbeddingEpisodeLearner | AdaptingEpisodeLearner):
        comparisons = _Episodes(fitted, cell, dataset, ctx).comparisons()
    elif declares_transductive(fitted):
        return ""
    else:
        comparisons = _of_examples(fitted, cell, dataset, ctx)
    # A distance that is not a number counts as too far.
    failed = [each for each in comparisons if not each.distance <= each.allowed]
    return ", ".join(f"{each.varied} (by {each.distance:.2g} of the spread)" for each in failed)


def declares_transductive(fitted: object) -> bool:
    """Say whether a fitted method declares itself transductive."""
    return bool(getattr(fitted, "transductive", False))


def _of_examples(fitted: Any, cell: Cell, dataset: Dataset, ctx: Context) -> Iterator[_Comparison]:
    rows = _sampled_rows(cell, dataset)
    logits = _predict(fitted, dataset, rows, EMBED_BATCH_SIZE, ctx)
    order = _permutation(cell, len(rows))
    reordered = _predict(fitted, dataset, rows[order], EMBED_BATCH_SIZE, ctx)
    yield _Comparison("the order of the examples", _distance(logits[order], reordered), ROUNDING)
    small = _predict(fitted, dataset, rows, _SMALL_BATCH, ctx)
    yield _Comparison("the size of the batch", _distance(logits, small), ROUNDING)
    half = len(rows) // 2
    second = _predict(fitted, dataset, rows[half:], EMBED_BATCH_SIZE, ctx)
    yield _Comparison("which other examples are in the batch", _distance(logits[half:], second), ROUNDING)
    single = _predict(fitted, dataset, rows[:_ALONE], 1, ctx)
    yield _Comparison("being alone in the batch", _distance(logits[:_ALONE], single), ROUNDING)


@torch.no_grad()
def _predict(fitted: Any, dataset: Dataset, rows: Rows, size: int, ctx: Context) -> Tensor:
    """Return the logits (n, classes) of rows in batches of a size, by cached features where the protocol does so."""
    features = ctx.features if isinstance(fitted, FeaturePredictor) else None
    logits = []
    for batch in np.split(rows, range(size, len(rows), size)):
        if features is not None:
            logits.append(fitted.head(features.take(batch).to(ctx.device)).float().cpu())
        else:
            logits.append(embed(fitted.logits, take(dataset, batch, None).x, None, ctx.device))
    return torch.cat(logits)


class _Episodes:
    """A few fixed test episodes of a cell, and a learner's logits for their queries.

    Args:
        learner: The fitted learner.
        cell: The cell.
        dataset: Its dataset.
        ctx: Its context.

    Attributes:
        logits: Logits (episodes, queries, ways) when all queries of all episodes are predicted together.
    """

    def __init__(
        self, learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner, cell: Cell, dataset: Dataset, ctx: Context
    ) -> None:
        self._learner = learner
        self._ctx = ctx
        self._cell = cell
        options = cell.protocol.options
        assert isinstance(cell.shots, int)
        classes = sorted(deal_classes(cell.dataset.info)["test"])
        rows = scored_rows(cell, dataset)
        self._test = take(dataset, rows, np.searchsorted(classes, dataset.y[rows]))
        self._inputs = episode_inputs(learner, self._test, ctx)
        if ctx.episodes is not None:
            posed = pose_given(ctx.episodes, rows)[0][0].first(_EPISODES)
            self._support, self._labels, self._query, _, self._ways = posed
        else:
            episodes = draw_episodes(
                self._test.labels,
                np.arange(len(rows)),
                range(len(classes)),
                EpisodeShape(ways=options["ways"], shots=cell.shots, queries=options["queries"]),
                count=_EPISODES,
                seed=derive_seed("audit", cell.id),
            )
            self._ways = int(options["ways"])
            support = torch.from_numpy(episodes.support).flatten(1)
            order = torch.from_numpy(_permutation(cell, support.shape[1]))
            self._support, self._labels = support[:, order], episode_labels(episodes.support)[:, order]
            self._query = torch.from_numpy(episodes.query).flatten(1)
        self.logits = self._predict(self._query)

    def comparisons(self) -> Iterator[_Comparison]:
        """Yield each comparison that must hold for the learner."""
        learner, query = self._learner, self._query
        allowed = ROUNDING * (_SOLVER_FACTOR if isinstance(learner, AdaptingEpisodeLearner) else 1)
        order = torch.from_numpy(_permutation(self._cell, query.shape[1]))
        reordered = self._predict(query[:, order])
        yield _Comparison("the order of the queries", _distance(self.logits[:, order], reordered), allowed)
        single = torch.cat([self._predict(query, slice(number, number + 1)) for number in range(len(query))])
        yield _Comparison("the other episodes", _distance(self.logits, single), allowed)
        if declares_transductive(learner):
            return
        half = query.shape[1] // 2
        if not half:
            return
        second = self._predict(query[:, half:])
        yield _Comparison("which other queries are given", _distance(self.logits[:, half:], second), allowed)
        some = range(0, half, max(1, half // 3))
        alone = torch.cat([self._predict(query[:, [column]]) for column in some], 1)
        yield _Comparison("being the only query", _distance(self.logits[:, list(some)], alone), allowed)
        if isinstance(learner, EmbeddingEpisodeLearner) and learner.encoder is not None:
            few = Split(self._test.x[:_ALONE], self._test.labels[:_ALONE], self._test.rows[:_ALONE])
            embedded = episode_inputs(learner, few, self._ctx).cpu()
            together = self._inputs[:_ALONE].cpu()
            yield _Comparison("what is embedded in the same batch", _distance(together, embedded), ROUNDING)

    def _predict(self, query: Tensor, which: slice = slice(None)) -> Tensor:
        """Return the logits (episodes, queries, ways) of some queries of some episodes."""
        support, labels, query = (part[which] for part in (self._support, self._labels, query))
        return episode_logits(self._learner, self._inputs, support, labels, query, self._ways, self._ctx.device)


def _sampled_rows(cell: Cell, dataset: Dataset) -> Rows:
    """Return some of the rows that a cell is scored on, spread over all of them."""
    rows = scored_rows(cell, dataset)
    return rows[np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).astype(np.int64)]


def _permutation(cell: Cell, count: int) -> Rows:
    keys = np.random.PCG64(derive_seed("audit order", cell.id)).random_raw(count)
    return np.argsort(keys, kind="stable")


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of logits (..., classes) relative to their largest deviation from their mean."""
    scale = (one - one.mean(-1, keepdim=True)).abs().max().clamp_min(1e-12)
    return ((one - other).abs().max() / scale).item()
