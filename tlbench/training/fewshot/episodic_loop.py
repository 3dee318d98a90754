"""The training loop over episodes: every method that learns from training episodes runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.core.class_splits import too_few
from tlbench.core.config import BatchNorm, EpisodicConfig, FixedWaysConfig
from tlbench.core.errors import UserError
from tlbench.data.dataset import Split, Task
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.collectives import gather_rows
from tlbench.training.context import Context
from tlbench.training.epoch_loop import EarlyStopping
from tlbench.training.fewshot.episodes import (
    classes_with_examples,
    episode_labels,
    episode_scores,
    validation_episodes,
)
from tlbench.training.parameter_groups import scale_rates
from tlbench.training.precision import at_least_float32
from tlbench.training.predictor import EpisodeLearner


class EpisodeBatch(NamedTuple):
    """The training episodes of one step, the same in every process.

    Attributes:
        support: Positions of the support examples in ``task.train`` (E, ways * shots).
        support_y: Their labels (E, ways * shots).
        query: Positions of the queries (E, ways * queries).
        query_y: Their labels (E, ways * queries).
        ways: Number of classes.
        done: Number of training episodes before this step.
    """

    support: Tensor
    support_y: Tensor
    query: Tensor
    query_y: Tensor
    ways: int
    done: int


@dataclass(frozen=True)
class EpisodicTraining:
    """A method's part of the training on episodes.

    Attributes:
        model: The module that is trained in place, on its device.
        learner: The learner that is scored on validation episodes; it uses ``model``.
        optimizer: Optimiser of the model, over groups with ``base_lr``.
        backward: Adds the gradients of the mean loss of one step's episodes to the parameters, averaged over all
            processes, and returns that loss without its graph.
        rate: Maps the number of episodes before a step to the factor of the learning rates.
        episodes_per_step: Number of episodes of one step; the last before a check may have fewer.
        score_initial: Whether the initial weights take part in selection on validation, as episode 0.
        batch_norm: Whether running statistics move.
    """

    model: nn.Module
    learner: EpisodeLearner
    optimizer: torch.optim.Optimizer
    backward: Callable[[EpisodeBatch], Tensor]
    rate: Callable[[int], float]
    episodes_per_step: int = 1
    score_initial: bool = False
    batch_norm: BatchNorm = "train"


def train_on_episodes(
    training: EpisodicTraining, task: Task, cfg: FixedWaysConfig, ctx: Context, name: str = "fit"
) -> None:
    """Train on episodes of the training classes; afterwards the model has the weights with the best validation score.

    Validation is on episodes of the validation classes. Fills the curves ``train_loss``, ``val_accuracy`` and
    ``val_nll``, and the context's ``selected`` and ``validation``.

    Args:
        training: Model, optimiser and loss.
        task: Training and validation classes.
        cfg: Number and composition of the episodes.
        ctx: Device, randomness, epochs and processes.
        name: Name of the training, unique within the cell.

    Raises:
        UserError: Too few training classes have enough examples.
    """
    classes = _training_classes(task, cfg, ctx)
    checks = -(-cfg.episodes // cfg.check_every)
    epochs = ctx.epochs(
        checks,
        training.model,
        {"optimizer": training.optimizer},
        early_stopping=EarlyStopping(cfg.patience),
        name=name,
    )
    validation = validation_episodes(task.info, task.val, cfg.checks, ctx)
    if training.score_initial and validation is not None and task.val is not None:
        epochs.score_initial(*episode_scores(training.learner, task.val, validation, ctx).order)
    for check in epochs:
        first, last = check * cfg.check_every, min((check + 1) * cfg.check_every, cfg.episodes)
        train_mode(training.model, training.batch_norm)
        episodes = _sample(task, classes, cfg, last - first, ctx.seed("episodes", check))
        loss_sum = torch.zeros((), device=ctx.device)
        for batch in _steps(episodes, training.episodes_per_step, first, ctx.device):
            scale_rates(training.optimizer, training.rate(batch.done))
            training.optimizer.zero_grad(set_to_none=True)
            loss_sum += training.backward(batch) * len(batch.support)
            training.optimizer.step()
        ctx.log(last, train_loss=loss_sum.item() / (last - first))
        if validation is not None and task.val is not None:
            scores = episode_scores(training.learner, task.val, validation, ctx)
            ctx.log(last, val_accuracy=scores.accuracy, val_nll=scores.nll)
            epochs.score(*scores.order)
    epochs.restore_best()
    if epochs.best_epoch is not None and epochs.best_score is not None:
        ctx.selected["episode"] = min((epochs.best_epoch + 1) * cfg.check_every, cfg.episodes)
        ctx.validation.update(accuracy=epochs.best_score[0], nll=-epochs.best_score[1])


def embed_episodes(encoder: nn.Module, examples: Examples, batch: EpisodeBatch, ctx: Context) -> tuple[Tensor, Tensor]:
    """Return the embedded support (E, S, D) and queries (E, Q, D) of one step's episodes, all of them in every process.

    They pass through the encoder as one batch, of which each process computes its shard.

    Args:
        encoder: The form to call in training, as :meth:`Context.wrap` returns it.
        examples: The raw examples that the positions of the episodes refer to.
        batch: The episodes.
        ctx: Precision and processes.
    """
    rows = torch.cat([batch.support.flatten(), batch.query.flatten()])
    x, _ = examples.take(ctx.shard(rows))
    with ctx.autocast():
        z = encoder(x)
    z = gather_rows(at_least_float32(z), len(rows), ctx.group)
    support, query = z.split([batch.support.numel(), batch.query.numel()])
    return support.unflatten(0, batch.support.shape), query.unflatten(0, batch.query.shape)


def require_enough_classes(task: Task, cfg: FixedWaysConfig) -> None:
    """Check that episodes can be sampled from the training classes; called before any other training.

    Raises:
        UserError: Fewer training classes than needed have enough examples: as many as the test has ways for a method
            with a fixed number of ways, else two.
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
    """Return the training classes with enough examples for an episode; note what that leaves out."""
    require_enough_classes(task, cfg)
    assert isinstance(task.info.shots, int)
    needed = task.info.shots + cfg.queries
    classes = classes_with_examples(task.train, needed)
    left_out = len(np.unique(task.train.labels)) - len(classes)
    if left_out:
        ctx.notes.append(f"{left_out} training classes have fewer than {needed} examples and were left out")
    if isinstance(cfg, EpisodicConfig) and cfg.ways > len(classes):
        reason = f"there are no more training classes with {needed} examples"
        ctx.notes.append(f"training episodes have {len(classes)} ways, not {cfg.ways}: {reason}")
    return tuple(classes.tolist())


def _sample(task: Task, classes: tuple[int, ...], cfg: FixedWaysConfig, count: int, seed: int) -> Episodes:
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
    """Yield episodes in batches of ``size``; ``done`` episodes were trained on before."""
    support, query = (torch.from_numpy(part).flatten(1) for part in (episodes.support, episodes.query))
    support_y, query_y = (episode_labels(part).to(device) for part in (episodes.support, episodes.query))
    pieces = zip(support.split(size), support_y.split(size), query.split(size), query_y.split(size), strict=True)
    for piece in pieces:
        yield EpisodeBatch(*piece, ways=episodes.support.shape[1], done=done)
        done += len(piece[0])
