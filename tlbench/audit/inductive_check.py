"""Asks a fitted method about the same test examples in other company: its answers may not depend on it.

Where a method says that it is transductive, only what holds for it too is asked: episodes are answered alike whatever
is solved beside them, and queries whatever their order. In adaptation the model that the method returns is asked,
which is the last of those that it proposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.audit.tampered_data import scored_rows
from tlbench.core.cell import Cell
from tlbench.core.class_splits import deal_classes
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import Dataset, Split, take
from tlbench.data.sampling import draw_episodes
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import episode_inputs, episode_logits, labels_of
from tlbench.training.frozen_features import BATCH
from tlbench.training.predictor import EpisodeLearner, EpisodeSolver, FeaturePredictor

ROUNDING = 1e-3  # of the largest deviation of a logit: other batches choose other kernels. The episodic protocol's own
_SOLVING = 10  # times as much for a network that is trained on the episode: training makes more of rounding
_EXAMPLES, _ALONE, _FEW, _EPISODES = 300, 8, 7, 4

Rows = NDArray[np.int64]


def answers(fitted: Any, cell: Cell, dataset: Dataset, ctx: Context) -> Tensor:
    """Return the logits of a few fixed test examples, or of the queries of a few fixed test episodes."""
    if isinstance(fitted, EpisodeLearner | EpisodeSolver):
        return _Episodes(fitted, cell, dataset, ctx).whole
    return _ask(fitted, dataset, _chosen(cell, dataset), BATCH, ctx)


def dependence(fitted: Any, cell: Cell, dataset: Dataset, ctx: Context) -> str:
    """Return in words what the answers depend on though they may not; nothing where all is well."""
    if isinstance(fitted, EpisodeLearner | EpisodeSolver):
        compared = _Episodes(fitted, cell, dataset, ctx).compared()
    elif declares(fitted):
        return ""
    else:
        compared = _by_example(fitted, cell, dataset, ctx)
    return ", ".join(f"{what} (by {far:.2g} of the spread)" for what, far, allowed in compared if not far <= allowed)


def declares(fitted: Any) -> bool:
    """Say whether a fitted method declares itself transductive."""
    return bool(getattr(fitted, "transductive", False))


def _by_example(fitted: Any, cell: Cell, dataset: Dataset, ctx: Context) -> Iterator[tuple[str, float, float]]:
    rows = _chosen(cell, dataset)
    whole = _ask(fitted, dataset, rows, BATCH, ctx)
    order = _order(cell, len(rows))
    moved = _ask(fitted, dataset, rows[order], BATCH, ctx)
    yield "the order of the examples", _apart(whole[order], moved), ROUNDING
    yield "the size of the batch", _apart(whole, _ask(fitted, dataset, rows, _FEW, ctx)), ROUNDING
    half = len(rows) // 2
    yield "which others are asked", _apart(whole[half:], _ask(fitted, dataset, rows[half:], BATCH, ctx)), ROUNDING
    yield "being asked alone", _apart(whole[:_ALONE], _ask(fitted, dataset, rows[:_ALONE], 1, ctx)), ROUNDING


@torch.no_grad()
def _ask(fitted: Any, dataset: Dataset, rows: Rows, size: int, ctx: Context) -> Tensor:
    """Return the logits (n, classes) of rows in batches of a size, by cached features where the protocol does so."""
    cached = isinstance(fitted, FeaturePredictor) and ctx.features is not None
    found = []
    for batch in np.split(rows, range(size, len(rows), size)):
        if cached:
            assert ctx.features is not None
            found.append(fitted.head(ctx.features.take(batch).to(ctx.device)).float().cpu())
        else:
            x = torch.from_numpy(take(dataset, batch, None).x)
            found.append(fitted.logits(x.to(ctx.device)).float().cpu())
    return torch.cat(found)


class _Episodes:
    """A few test episodes of a cell, and a learner's answers to their queries.

    Args:
        learner: The fitted learner.
        cell: The cell.
        dataset: Its dataset.
        ctx: Its context.
    """

    def __init__(self, learner: EpisodeLearner | EpisodeSolver, cell: Cell, dataset: Dataset, ctx: Context) -> None:
        self._learner = learner
        self._ctx = ctx
        self._cell = cell
        options = cell.protocol.options
        assert isinstance(cell.shots, int)
        classes = sorted(deal_classes(cell.dataset.info)["test"])
        rows = scored_rows(cell, dataset)
        self._test = take(dataset, rows, np.searchsorted(classes, dataset.y[rows]))
        episodes = draw_episodes(
            self._test.labels,
            np.arange(len(rows)),
            range(len(classes)),
            ways=options["ways"],
            shots=cell.shots,
            queries=options["queries"],
            count=_EPISODES,
            seed=derive_seed("audit", cell.id),
        )
        self._ways = int(options["ways"])
        self._inputs = episode_inputs(learner, self._test, ctx)
        support = torch.from_numpy(episodes.support).flatten(1)
        order = torch.from_numpy(_order(cell, support.shape[1]))
        self._support, self._labels = support[:, order], labels_of(episodes.support)[:, order]
        self._query = torch.from_numpy(episodes.query).flatten(1)
        self.whole = self._solve(self._query)

    def compared(self) -> Iterator[tuple[str, float, float]]:
        """Yield what is varied, how far the answers then are apart, and how far they may be."""
        order = torch.from_numpy(_order(self._cell, self._query.shape[1]))
        allowed = ROUNDING * (_SOLVING if isinstance(self._learner, EpisodeSolver) else 1)
        yield "the order of the queries", _apart(self.whole[:, order], self._solve(self._query[:, order])), allowed
        single = torch.cat([self._solve(self._query, slice(place, place + 1)) for place in range(_EPISODES)])
        yield "the other episodes", _apart(self.whole, single), allowed
        if declares(self._learner):
            return
        half = self._query.shape[1] // 2
        yield "which other queries are asked", _apart(self.whole[:, half:], self._solve(self._query[:, half:])), allowed
        alone = [self._solve(self._query[:, [place]]) for place in range(0, half, max(1, half // 3))]
        yield "being asked alone", _apart(self.whole[:, 0 : half : max(1, half // 3)], torch.cat(alone, 1)), allowed
        if isinstance(self._learner, EpisodeLearner) and self._learner.encoder is not None:
            few = Split(self._test.x[:_ALONE], self._test.labels[:_ALONE], self._test.rows[:_ALONE])
            embedded = episode_inputs(self._learner, few, self._ctx).cpu()
            yield "what is embedded beside it", _apart(self._inputs[:_ALONE].cpu(), embedded), ROUNDING

    def _solve(self, query: Tensor, which: slice = slice(None)) -> Tensor:
        support, labels, query = (part[which] for part in (self._support, self._labels, query))
        return episode_logits(self._learner, self._inputs, support, labels, query, self._ways, self._ctx.device)


def _chosen(cell: Cell, dataset: Dataset) -> Rows:
    """Return some of the rows that a cell is scored on, spread over all of them."""
    rows = scored_rows(cell, dataset)
    return rows[np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).astype(np.int64)]


def _order(cell: Cell, count: int) -> Rows:
    keys = np.random.PCG64(derive_seed("audit order", cell.id)).random_raw(count)
    return np.argsort(keys, kind="stable")


def _apart(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of logits (..., classes) as a part of their largest deviation from their mean."""
    scale = (one - one.mean(-1, keepdim=True)).abs().max().clamp_min(1e-12)
    return ((one - other).abs().max() / scale).item()
