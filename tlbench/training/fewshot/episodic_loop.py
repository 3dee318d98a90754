"""The one loop over training episodes: every method that learns to learn runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.core.class_splits import too_few
from tlbench.core.config import EpisodicConfig, FixedWaysConfig
from tlbench.core.errors import UserError
from tlbench.data.dataset import Split, Task
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.collectives import gather_rows
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import classes_with_examples, episode_labels, episode_scores, validation_episodes
from tlbench.training.parameter_groups import scale_rates
from tlbench.training.precision import at_least_float32
from tlbench.training.predictor import AdaptingEpisodeLearner, EmbeddingEpisodeLearner


class EpisodeBatch(NamedTuple):
    """The training episodes of one step, the same in every process.

    Attributes:
        support: Positions of the support examples in ``task.train`` (E, ways * shots).
        support_y: Their labels (E, ways * shots).
        query: Positions of the queries (E, ways * queries).
        query_y: Their labels (E, ways * queries).
        ways: Number of classes.
        done: Training episodes before this step.
    """

    support: Tensor
    support_y: Tensor
    query: Tensor
    query_y: Tensor
    ways: int
    done: int


def train_on_episodes(
    model: nn.Module,
    learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner,
    optimizer: torch.optim.Optimizer,
    task: Task,
    cfg: FixedWaysConfig,
    ctx: Context,
    backward: Callable[[EpisodeBatch], Tensor],
    *,
    rate: Callable[[int], float],
    per_step: int = 1,
    from_start: bool = False,
    name: str = "fit",
) -> None:
    """Train on episodes of the training classes; leave the weights that were best on validation episodes.

    Fills the curves ``train_loss``, ``val_accuracy`` and ``val_nll``, and the context's ``selected`` and
    ``validation``.

    Args:
        model: What is trained, in place, on its device; its state is kept and restored.
        learner: What is scored on validation episodes; it reads ``model``.
        optimizer: Over groups with ``base_lr``.
        task: Training and validation classes.
        cfg: How many episodes, and how they are made.
        ctx: Device, randomness, epochs and processes.
        backward: Adds the gradients of the mean loss of one step's episodes to the parameters, averaged over all
            processes, and returns that loss without its graph.
        rate: Episodes before the step -> factor of the rates.
        per_step: Episodes of one step; the last before a check may be fewer.
        from_start: Whether the weights given compete too; they count as episode 0.
        name: Tells the trainings of one cell apart.

    Raises:
        UserError: Too few training classes have enough examples.
    """
    classes = _training_classes(task, cfg, ctx)
    checks = -(-cfg.episodes // cfg.check_every)
    epochs = ctx.epochs(checks, model, patience=cfg.patience, name=name, optimizer=optimizer)
    held_out = validation_episodes(task.info, task.val, cfg.checks, ctx)
    if from_start and held_out is not None and task.val is not None:
        epochs.score_start(*episode_scores(learner, task.val, held_out, ctx).order)
    for check in epochs:
        first, last = check * cfg.check_every, min((check + 1) * cfg.check_every, cfg.episodes)
        train_mode(model, "train")
        drawn = _draw(task, classes, cfg, last - first, ctx.seed("episodes", check))
        seen = torch.zeros((), device=ctx.device)
        for batch in _steps(drawn, per_step, first, ctx.device):
            scale_rates(optimizer, rate(batch.done))
            optimizer.zero_grad(set_to_none=True)
            seen += backward(batch) * len(batch.support)
            optimizer.step()
        ctx.log(last, train_loss=seen.item() / (last - first))
        if held_out is not None and task.val is not None:
            scores = episode_scores(learner, task.val, held_out, ctx)
            ctx.log(last, val_accuracy=scores.accuracy, val_nll=scores.nll)
            epochs.score(*scores.order)
    epochs.restore_best()
    if epochs.best_epoch is not None and epochs.best_score is not None:
        ctx.selected["episode"] = min((epochs.best_epoch + 1) * cfg.check_every, cfg.episodes)
        ctx.validation.update(accuracy=epochs.best_score[0], nll=-epochs.best_score[1])


def embed_episodes(encoder: nn.Module, examples: Examples, batch: EpisodeBatch, ctx: Context) -> tuple[Tensor, Tensor]:
    """Return embedded support (E, S, D) and queries (E, Q, D) of one step's episodes, in every process all of them.

    They go through the encoder in one pass, of which each process computes its share.

    Args:
        encoder: The form to call in training: what :meth:`Context.wrap` returned.
        examples: The examples that the episodes count, raw.
        batch: The episodes.
        ctx: Precision and processes.
    """
    rows = torch.cat([batch.support.flatten(), batch.query.flatten()])
    x, _ = examples.take(ctx.shard(rows))
    with ctx.autocast():
        z = encoder(x)
    z = gather_rows(at_least_float32(z), len(rows), ctx)
    support, query = z.split([batch.support.numel(), batch.query.numel()])
    return support.unflatten(0, batch.support.shape), query.unflatten(0, batch.query.shape)


def require_enough_classes(task: Task, cfg: FixedWaysConfig) -> None:
    """Refuse training classes that episodes cannot be drawn from; to be asked before any other training.

    Raises:
        UserError: Too few of them have enough examples: for all ways of a head that has so many, else for two.
    """
    assert isinstance(task.info.shots, int)
    fixed = not isinstance(cfg, EpisodicConfig)
    counts = np.unique(task.train.labels, return_counts=True)[1].tolist()
    reason = too_few(counts, task.info.shots, cfg.queries, task.info.classes if fixed else 2)
    if reason is not None:
        raise UserError(
            f"{task.info.dataset.name}: {reason}",
            f"set fewer {'ways or ' if fixed else ''}shots, or fewer queries in the method's params",
        )


def _training_classes(task: Task, cfg: FixedWaysConfig, ctx: Context) -> tuple[int, ...]:
    require_enough_classes(task, cfg)
    assert isinstance(task.info.shots, int)
    needed = task.info.shots + cfg.queries
    classes = classes_with_examples(task.train, needed)
    left_out = len(np.unique(task.train.labels)) - len(classes)
    if left_out:
        ctx.notes.append(f"{left_out} training classes have fewer than {needed} examples and were left out")
    if isinstance(cfg, EpisodicConfig) and cfg.ways > len(classes):
        more = f"there are no more training classes with {needed} examples"
        ctx.notes.append(f"training episodes have {len(classes)} ways, not {cfg.ways}: {more}")
    return tuple(classes.tolist())


def _draw(task: Task, classes: tuple[int, ...], cfg: FixedWaysConfig, count: int, seed: int) -> Episodes:
    train: Split = task.train
    assert isinstance(task.info.shots, int)
    ways = min(cfg.ways, len(classes)) if isinstance(cfg, EpisodicConfig) else task.info.classes
    return draw_episodes(
        train.labels,
        np.arange(len(train)),
        classes,
        EpisodeShape(ways, shots=task.info.shots, queries=cfg.queries),
        count=count,
        seed=seed,
    )


def _steps(episodes: Episodes, size: int, done: int, device: torch.device) -> Iterator[EpisodeBatch]:
    support, query = (torch.from_numpy(part).flatten(1) for part in (episodes.support, episodes.query))
    of_support, of_query = (episode_labels(part).to(device) for part in (episodes.support, episodes.query))
    pieces = zip(support.split(size), of_support.split(size), query.split(size), of_query.split(size), strict=True)
    for piece in pieces:
        yield EpisodeBatch(*piece, ways=episodes.support.shape[1], done=done)
        done += len(piece[0])
