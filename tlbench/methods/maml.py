"""MAML: learn weights from which a few steps of gradient descent on an episode's support solve the episode.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", arXiv:1703.03400,
sections 2.2 and 5.2, with second derivatives or without. A rate for each tensor and step, and losses after every
step, are those of Antoniou, Edwards and Storkey 2019, "How to train your MAML", arXiv:1810.09502. As published, batch
normalisation uses the statistics of the batch at hand, queries of the test too: that is transductive, and declared;
under ``statistics: support`` queries are normalised by their episode's support instead. The head has as many outputs
as the test has ways, so training episodes have as many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.class_splits import forbids_training
from tlbench.core.config import FixedWaysConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.batches import Examples
from tlbench.training.classifier import random_head
from tlbench.training.collectives import all_reduce_gradients, all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.fewshot.episode_batch_norm import use_episode_statistics
from tlbench.training.fewshot.episodic_loop import EpisodeBatch, train_on_episodes
from tlbench.training.fewshot.inner_loop import (
    NamedTensors,
    Order,
    autograd_gradient,
    func_gradient,
    gradient_descent,
    multi_step_loss_weights,
)
from tlbench.training.fewshot.vmap_support import supports_vmap
from tlbench.training.precision import at_least_float32
from tlbench.training.predictor import AdaptingEpisodeLearner, ModulePredictor
from tlbench.training.schedules import warmup_cosine

PROTOCOLS = ("episodic",)
SEGMENTABLE = ("episodic",)
QUICK = {"episodes": 48, "check_every": 16, "checks": 10}

_TOGETHER = 2**24  # input values of the episodes that a GPU runs at once
_SETTLED = 0.5  # share of the training after which only the loss after the last step counts


class Config(FixedWaysConfig):
    """Parameters of MAML."""

    episodes: int = Field(4000, ge=1, description="training episodes")
    check_every: int = Field(400, ge=1, description="episodes between two checks on validation")
    per_step: int = tunable(4, choice(4, 16, 32), "episodes of one step", ge=1)
    lr: float = tunable(1e-3, log_uniform(3e-4, 3e-3), "rate of Adam, over the episodes", gt=0)
    schedule: Literal["constant", "cosine"] = Field("cosine", description="how that rate moves")
    clamp: float | None = Field(10.0, gt=0, description="largest size of an entry of the gradient over the episodes")
    inner_lr: float = tunable(0.1, log_uniform(0.01, 0.5), "rate within an episode", lasting=True, gt=0)
    inner_steps: int = tunable(1, choice(1, 3, 5), "steps within a training episode", lasting=True, ge=1)
    test_steps: int = tunable(5, choice(5, 10), "steps within a test episode", lasting=True, ge=1)
    order: Literal[1, 2] = tunable(2, choice(1, 2), "1 takes the gradients within an episode for constants")
    learn_rates: bool = Field(False, description="learn a rate for each tensor and step; inner_lr is where they start")
    multi_step_loss: bool = Field(False, description="count losses after every step, and at last only the last's")
    statistics: Literal["batch", "support"] = Field(
        "batch", description="what batch normalisation sees of queries: all of them (transductive), or the support"
    )


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots, and training classes that are too few or too small."""
    return forbids_training(info, cfg.queries, info.classes)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> AdaptingEpisodeLearner:
    """Train the backbone under a new head on episodes of the training classes."""
    start = MetaInitialisation(backbone, task.info.classes, cfg, ctx.generator("head")).to(ctx.device)
    solver, examples = GradientDescentLearner(start, cfg), Examples(task.train, ctx.device)
    if ctx.device.type == "cuda":
        solver.vectorise(examples.take(torch.arange(2))[0])
    parameters = list(start.parameters())
    optimizer = torch.optim.Adam([{"params": parameters, "lr": cfg.lr, "base_lr": cfg.lr}], fused=True)

    def backward(batch: EpisodeBatch) -> Tensor:
        own = ctx.shard(torch.arange(len(batch.support)))
        support, query = (examples.take(rows[own])[0] for rows in (batch.support, batch.query))
        labels, truth = (y[own.to(y.device)] for y in (batch.support_y, batch.query_y))
        weights = _weights(cfg, batch.done)
        seen = torch.zeros((), device=ctx.device)
        for piece in solver.pieces(support, labels, query, truth):
            with ctx.autocast():
                losses = solver.losses(*piece, batch.ways, weights)
            loss = losses.sum() / len(batch.support)
            loss.backward()
            seen += loss.detach()
        all_reduce_gradients(parameters, ctx)
        if cfg.clamp is not None:
            nn.utils.clip_grad_value_(parameters, cfg.clamp)
        return all_reduce_sum(seen, ctx)

    def rate(done: int) -> float:
        return warmup_cosine(done, cfg.episodes, 0.0) if cfg.schedule == "cosine" else 1.0

    train_on_episodes(start, solver, optimizer, task, cfg, ctx, backward, rate=rate, per_step=cfg.per_step)
    return solver


def _weights(cfg: Config, done: int) -> list[float]:
    return multi_step_loss_weights(cfg.inner_steps, done / (_SETTLED * cfg.episodes) if cfg.multi_step_loss else 1.0)


class Network(nn.Module):
    """The backbone's body under a linear head; a head of zeros would keep the first step from reaching the body.

    Args:
        backbone: Whose body it is.
        outputs: Number of classes.
        generator: The source of the head.
    """

    def __init__(self, backbone: Backbone, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = random_head(backbone.out_dim, outputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of prepared inputs."""
        return self.head(self.backbone.body(x))


class MetaInitialisation(nn.Module):
    """What is learned: the weights from which every episode starts and, if asked, the rates (steps, tensors)."""

    rates: Tensor

    def __init__(self, backbone: Backbone, ways: int, cfg: Config, generator: torch.Generator) -> None:
        super().__init__()
        self.network = Network(backbone, ways, generator)
        rates = torch.full((cfg.inner_steps, len(list(self.network.parameters()))), cfg.inner_lr)
        if cfg.learn_rates:
            self.rates = nn.Parameter(rates)
        else:
            self.register_buffer("rates", rates, persistent=False)

    def rates_of(self, steps: int) -> Tensor:
        """Return the rates of some steps (steps, tensors); those beyond the training's have the rates of its last."""
        return self.rates[torch.arange(steps).clamp(max=len(self.rates) - 1)]


class GradientDescentLearner:
    """Solves episodes by gradient descent on their support, one at a time or, on a GPU, many at once.

    Args:
        start: Where every episode starts; its batch normalisation is switched to the statistics of episodes.
        cfg: Steps, order and statistics.
    """

    module: nn.Module

    def __init__(self, start: MetaInitialisation, cfg: Config) -> None:
        self.module = self._start = start
        self._cfg = cfg
        self._norms = use_episode_statistics(start)
        self._by_support = cfg.statistics == "support" and bool(self._norms)
        self.transductive = cfg.statistics == "batch" and bool(self._norms)
        self._vectorised = False
        self._footprint = ModulePredictor(start, list(start.parameters())).footprint()

    def vectorise(self, x: Tensor) -> None:
        """From now on run episodes at once, if that is right for this network; it is shown a few raw inputs x."""
        self.module.train()
        for norm in self._norms:
            norm.fused = False
        with sdpa_kernel(SDPBackend.MATH):
            self._vectorised = supports_vmap(self._start.network, self._start.network.backbone.prepare(x))
        for norm in self._norms:
            norm.fused = not self._vectorised

    def pieces(self, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield tensors (E, ...) of the same episodes in pieces of as many episodes as are run at once."""
        values = sum(part.shape[1:].numel() for part in parts)
        size = max(1, _TOGETHER // values) if self._vectorised else 1
        if len(parts[0]):
            yield from zip(*(part.split(size) for part in parts), strict=True)

    def losses(
        self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor, ways: int, weights: Sequence[float]
    ) -> Tensor:
        """Return the loss (E,) of queries after the steps, to be differentiated with respect to the start.

        Args:
            support: Raw support examples (E, S, ...).
            labels: Their labels (E, S).
            query: Raw queries (E, Q, ...).
            truth: Their labels (E, Q).
            ways: Number of classes in each episode.
            weights: Weights of the loss at the start and after each step.
        """

        def loss(x: Tensor, y: Tensor, q: Tensor, t: Tensor) -> Tensor:
            start, rates = dict(self._start.network.named_parameters()), self._start.rates_of(len(weights) - 1)
            found = torch.zeros((), device=x.device)
            for weight, values in zip(weights, self._steps(start, rates, self._cfg.order, x, y, ways), strict=True):
                if weight:
                    found = found + weight * cross_entropy(self._answers(values, x, q, ways), t)
            return found

        return self._each(loss, support, labels, query, truth)

    @torch.enable_grad()
    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of raw queries.

        Raises:
            ValueError: There are more ways than the head has outputs.
        """
        if ways > self._start.network.head.out_features:
            raise ValueError(f"{ways} ways, but the head has {self._start.network.head.out_features} outputs")
        self.module.eval()
        named, rates = self._start.network.named_parameters(), self._start.rates_of(self._cfg.test_steps).detach()
        start = {name: value.detach().requires_grad_() for name, value in named}

        def solve(x: Tensor, y: Tensor, q: Tensor) -> Tensor:
            values = deque(self._steps(start, rates, 1, x, y, ways), maxlen=1).pop()
            with torch.no_grad():
                return self._answers(values, x, q, ways)

        return torch.cat([self._each(solve, *piece) for piece in self.pieces(support, labels, query)])

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
        return self._footprint

    def _each(
        self, solve: Callable[..., Tensor], support: Tensor, labels: Tensor, query: Tensor, *more: Tensor
    ) -> Tensor:
        """Return what ``solve`` makes of each episode, with its inputs prepared."""
        for norm in self._norms:
            norm.support = support.shape[1] if self._by_support else None
        parts = (self._prepared(support), labels, self._prepared(query), *more)
        with sdpa_kernel(SDPBackend.MATH):  # the only attention with second derivatives everywhere
            if self._vectorised:
                return vmap(solve)(*parts)
            return torch.stack([solve(*each) for each in zip(*parts, strict=True)])

    def _prepared(self, x: Tensor) -> Tensor:
        return self._start.network.backbone.prepare(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def _steps(
        self, start: NamedTensors, rates: Tensor, order: Order, x: Tensor, y: Tensor, ways: int
    ) -> Iterator[NamedTensors]:
        def objective(values: NamedTensors) -> Tensor:
            return cross_entropy(self._logits(values, x, ways), y)

        return gradient_descent(
            objective, start, rates, order, func_gradient if self._vectorised else autograd_gradient
        )

    def _answers(self, values: NamedTensors, support: Tensor, query: Tensor, ways: int) -> Tensor:
        x = torch.cat([support, query]) if self._by_support else query
        return self._logits(values, x, ways)[-len(query) :]

    def _logits(self, values: NamedTensors, x: Tensor, ways: int) -> Tensor:
        logits = functional_call(self._start.network, dict(values), (x,))
        return at_least_float32(logits)[:, :ways]
