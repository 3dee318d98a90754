"""Prototypical networks: learn an embedding in which queries lie nearest the mean of their class's support.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", arXiv:1703.05175, sections 2.2 to 2.4:
squared Euclidean distance, no temperature, as many shots in training as in the test, more ways. The encoder is kept
from the check that was best on episodes of the validation classes, and embeds in evaluation mode, so that one query
never sees another.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, choice, log_uniform, tunable
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Split, Task
from tlbench.data.sampling import Episodes, draw_episodes
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.collect import join
from tlbench.training.context import Context
from tlbench.training.episodes import episode_scores, usable_classes, validation_episodes
from tlbench.training.groups import set_rate
from tlbench.training.predictor import EpisodeLearner, ModulePredictor
from tlbench.training.prototypes import distance_logits, prototypes
from tlbench.training.schedules import halving

PROTOCOLS = ("episodic",)
QUICK = {"episodes": 60, "check_every": 20, "checks": 20}


class Config(MethodConfig):
    """Parameters of prototypical networks."""

    episodes: int = Field(400, ge=1, description="training episodes")
    ways: int = tunable(20, choice(5, 20, 60), "classes in a training episode; fewer where there are fewer", ge=2)
    queries: int = tunable(5, choice(5, 15), "queries of each class in a training episode", ge=1)
    lr: float = tunable(1e-3, log_uniform(3e-4, 3e-3), "rate of Adam", gt=0)
    halve_every: int = Field(2000, ge=1, description="episodes between two halvings of the rate")
    check_every: int = Field(50, ge=1, description="episodes between two checks on validation")
    checks: int = Field(200, ge=1, description="validation episodes of a check")
    patience: int | None = Field(None, ge=1, description="checks without improvement before stopping early")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots."""
    return "an episode has a number of shots, not all examples" if info.shots == "full" else None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EpisodeLearner:
    """Train the backbone on episodes of the training classes."""
    classes = _training_classes(task, cfg, ctx)
    backbone.to(ctx.device)
    optimizer = torch.optim.Adam([{"params": list(backbone.parameters()), "lr": cfg.lr, "base_lr": cfg.lr}], fused=True)
    checks = -(-cfg.episodes // cfg.check_every)
    epochs = ctx.epochs(checks, backbone, patience=cfg.patience, optimizer=optimizer)
    learner = Prototypes(backbone)
    encoder, examples = ctx.wrap(backbone), Examples(task.train, ctx.device)
    held_out = validation_episodes(task.info, task.val, cfg.checks, ctx.seed("validation episodes"))
    for check in epochs:
        first, last = check * cfg.check_every, min((check + 1) * cfg.check_every, cfg.episodes)
        train_mode(encoder, "train")
        episodes = _draw(task.train, classes, task.info.shots, cfg, last - first, ctx.seed("episodes", check))
        ctx.log(last, train_loss=_train(encoder, optimizer, examples, episodes, first, cfg, ctx) / (last - first))
        if held_out is not None and task.val is not None:
            scores = episode_scores(learner, task.val, held_out, ctx)
            ctx.log(last, val_accuracy=scores.accuracy, val_nll=scores.nll)
            epochs.score(*scores.order)
    epochs.restore_best()
    if epochs.best_epoch is not None and epochs.best_score is not None:
        ctx.selected["episode"] = min((epochs.best_epoch + 1) * cfg.check_every, cfg.episodes)
        ctx.validation.update(accuracy=epochs.best_score[0], nll=-epochs.best_score[1])
    return learner


class Prototypes:
    """Learns an episode by taking the means of its embedded support."""

    encoder: nn.Module | None

    def __init__(self, encoder: Backbone) -> None:
        self.encoder = encoder
        self._footprint = ModulePredictor(encoder, list(encoder.parameters())).footprint()

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        return distance_logits(query, prototypes(support, labels, ways))

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
        return self._footprint


def _training_classes(task: Task, cfg: Config, ctx: Context) -> tuple[int, ...]:
    assert isinstance(task.info.shots, int)
    needed = task.info.shots + cfg.queries
    classes = usable_classes(task.train, needed)
    if len(classes) < 2:
        raise UserError(
            f"protonet: fewer than two training classes of {task.info.dataset.name} have the {needed} examples that "
            f"{task.info.shots} shots and {cfg.queries} queries take",
            "set fewer shots, or fewer queries in the method's params",
        )
    left_out = len(np.unique(task.train.labels)) - len(classes)
    if left_out:
        ctx.notes.append(f"{left_out} training classes have fewer than {needed} examples and were left out")
    return tuple(classes.tolist())


def _draw(train: Split, classes: tuple[int, ...], shots: int | str, cfg: Config, count: int, seed: int) -> Episodes:
    assert isinstance(shots, int)
    return draw_episodes(
        train.labels,
        np.arange(len(train)),
        classes,
        ways=min(cfg.ways, len(classes)),
        shots=shots,
        queries=cfg.queries,
        count=count,
        seed=seed,
    )


def _train(
    encoder: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    episodes: Episodes,
    first: int,
    cfg: Config,
    ctx: Context,
) -> float:
    """Train on some episodes, numbered from ``first``; return the sum of their losses."""
    support, query = (torch.from_numpy(part).flatten(1) for part in (episodes.support, episodes.query))
    ways, shots = episodes.support.shape[1:]
    labels = torch.arange(ways, device=ctx.device)
    of_support, of_query = labels.repeat_interleave(shots), labels.repeat_interleave(cfg.queries)
    loss_sum = torch.zeros((), device=ctx.device)
    for number, rows in enumerate(torch.cat([support, query], dim=1), start=first):
        set_rate(optimizer, halving(number, cfg.halve_every))
        x, _ = examples.take(ctx.shard(rows))
        with ctx.autocast():
            z = encoder(x)
        z = join(z if z.dtype == torch.float64 else z.float(), len(rows), ctx)
        centres = prototypes(z[None, : ways * shots], of_support[None], ways)
        loss = cross_entropy(distance_logits(z[None, ways * shots :], centres)[0], of_query)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach()
    return loss_sum.item()
