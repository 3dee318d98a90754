"""MAML: learn initial weights from which a few steps of gradient descent on the support solve an episode.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", arXiv:1703.03400,
sections 2.2 and 5.2, with second derivatives or without. Learning rates per tensor and step, and losses after
every step, are those of Antoniou, Edwards and Storkey 2019, "How to train your MAML", arXiv:1810.09502. As published,
batch normalisation uses batch statistics, also for test queries, which is transductive, and declared so; under
``statistics: support`` queries are normalised by their episode's support instead. The head has as many outputs as test
episodes have ways, so training episodes have the same number of ways.
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
from tlbench.training.fewshot.episodic_loop import EpisodeBatch, EpisodicTraining, train_on_episodes
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
from tlbench.training.recipe import usual_rate
from tlbench.training.schedules import warmup_cosine

PROTOCOLS = ("episodic",)
SEGMENTABLE = ("episodic",)
QUICK = {"episodes": 48, "check_every": 16, "checks": 10}

_VMAP_VALUES = 2**24  # input values of the episodes that a GPU runs at once
_MULTI_STEP = 0.5  # fraction of the training after which only the loss after the last step counts


class Config(FixedWaysConfig):
    """Parameters of MAML."""

    episodes: int = Field(4000, ge=1, description="training episodes")
    check_every: int = Field(400, ge=1, description="episodes between two checks on validation")
    per_step: int = tunable(4, choice(4, 16, 32), "episodes per step", ge=1)
    lr: float | None = tunable(
        None, log_uniform(1e-5, 3e-3), "learning rate of Adam, across episodes; null: by the weights", gt=0
    )
    schedule: Literal["constant", "cosine"] = Field("cosine", description="schedule of that learning rate")
    clamp: float | None = Field(
        10.0, gt=0, description="largest absolute value of an entry of the gradient across episodes"
    )
    inner_lr: float = tunable(0.1, log_uniform(0.01, 0.5), "learning rate within an episode", lasting=True, gt=0)
    inner_steps: int = tunable(1, choice(1, 3, 5), "steps within a training episode", lasting=True, ge=1)
    test_steps: int = tunable(5, choice(5, 10), "steps within a test episode", lasting=True, ge=1)
    order: Literal[1, 2] = tunable(2, choice(1, 2), "1 treats the gradients within an episode as constants")
    learn_rates: bool = Field(False, description="learn a learning rate per tensor and step, initially inner_lr")
    multi_step_loss: bool = Field(False, description="include the losses after every step, and finally only the last")
    statistics: Literal["batch", "support"] = Field(
        "batch", description="statistics for queries: of all of them (transductive), or of the support"
    )


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots, and training classes that are too few or too small."""
    return forbids_training(info, cfg.queries, info.classes)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> AdaptingEpisodeLearner:
    """Train the backbone with a new head on episodes of the training classes."""
    start = MetaInitialisation(backbone, task.info.classes, cfg, ctx.generator("head")).to(ctx.device)
    learner, examples = GradientDescentLearner(start, cfg), Examples(task.train, ctx.device)
    if ctx.device.type == "cuda":
        learner.vectorise(examples.take(torch.arange(2))[0])
    parameters = list(start.parameters())
    lr = usual_rate(cfg.lr, "episodes", backbone.info, ctx)
    optimizer = torch.optim.Adam([{"params": parameters, "lr": lr, "base_lr": lr}], fused=True)

    def backward(batch: EpisodeBatch) -> Tensor:
        own = ctx.shard(torch.arange(len(batch.support)))
        support, query = (examples.take(rows[own])[0] for rows in (batch.support, batch.query))
        labels, truth = (y[own.to(y.device)] for y in (batch.support_y, batch.query_y))
        weights = _weights(cfg, batch.done)
        loss_sum = torch.zeros((), device=ctx.device)
        for s, y, q, t in learner.chunks(support, labels, query, truth):
            with ctx.autocast():
                losses = learner.losses(s, y, q, t, batch.ways, weights)
            loss = losses.sum() / len(batch.support)
            loss.backward()
            loss_sum += loss.detach()
        all_reduce_gradients(parameters, ctx.group)
        if cfg.clamp is not None:
            nn.utils.clip_grad_value_(parameters, cfg.clamp)
        return all_reduce_sum(loss_sum, ctx.group)

    def rate(done: int) -> float:
        return warmup_cosine(done, cfg.episodes, 0.0) if cfg.schedule == "cosine" else 1.0

    training = EpisodicTraining(start, learner, optimizer, backward, rate, cfg.per_step)
    train_on_episodes(training, task, cfg, ctx)
    return learner


def _weights(cfg: Config, done: int) -> list[float]:
    progress = done / (_MULTI_STEP * cfg.episodes) if cfg.multi_step_loss else 1.0
    return multi_step_loss_weights(cfg.inner_steps, progress)


class Network(nn.Module):
    """The backbone's body with a random linear head; a head of zeros would have no gradient for the body in step one.

    Args:
        backbone: The backbone.
        outputs: Number of classes.
        generator: Generator of the head.
    """

    def __init__(self, backbone: Backbone, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = random_head(backbone.out_dim, outputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, outputs) of prepared inputs."""
        logits: Tensor = self.head(self.backbone.body(x))
        return logits


class MetaInitialisation(nn.Module):
    """The learnt parameters: the initial weights of every episode and, if configured, learning rates.

    Args:
        backbone: The backbone.
        ways: Number of outputs of the head.
        cfg: Number of steps, learning rate, and whether it is learnt.
        generator: Generator of the head.

    Attributes:
        rates: Learning rates (steps, tensors).
    """

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
        """Return the learning rates of some steps (steps, tensors); further steps have the rates of the last."""
        return self.rates[torch.arange(steps).clamp(max=len(self.rates) - 1)]


class GradientDescentLearner:
    """Solves episodes by gradient descent on their support, one at a time or, on a GPU, many at once.

    Args:
        start: The initial weights; batch normalisation is replaced by one with the statistics of episodes.
        cfg: Number of steps, order and statistics.
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
        """Run several episodes at once from now on, if the network supports it.

        Args:
            x: A few raw inputs, for a forward pass.
        """
        self.module.train()
        for norm in self._norms:
            norm.fused = False
        with sdpa_kernel(SDPBackend.MATH):
            self._vectorised = supports_vmap(self._start.network, self._start.network.backbone.prepare(x))
        for norm in self._norms:
            norm.fused = not self._vectorised

    def chunks(self, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield tensors (E, ...) of the same episodes in chunks of as many episodes as are run at once."""
        values = sum(part.shape[1:].numel() for part in parts)
        size = max(1, _VMAP_VALUES // values) if self._vectorised else 1
        if len(parts[0]):
            yield from zip(*(part.split(size) for part in parts), strict=True)

    def losses(
        self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor, ways: int, weights: Sequence[float]
    ) -> Tensor:
        """Return the loss (E,) of queries after the steps, differentiable with respect to the initial weights.

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
            total = torch.zeros((), device=x.device)
            for weight, values in zip(weights, self._steps(start, rates, self._cfg.order, x, y, ways), strict=True):
                if weight:
                    total = total + weight * cross_entropy(self._query_logits(values, x, q, ways), t)
            return total

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
                return self._query_logits(values, x, q, ways)

        return torch.cat([self._each(solve, *piece) for piece in self.chunks(support, labels, query)])

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        return self._footprint

    def _each(
        self, solve: Callable[..., Tensor], support: Tensor, labels: Tensor, query: Tensor, *more: Tensor
    ) -> Tensor:
        """Return the results (E, ...) of ``solve`` for each episode, with prepared inputs."""
        for norm in self._norms:
            norm.support = support.shape[1] if self._by_support else None
        parts = (self._prepared(support), labels, self._prepared(query), *more)
        with sdpa_kernel(SDPBackend.MATH):  # the only implementation with second derivatives on all devices
            if self._vectorised:
                return vmap(solve)(*parts)
            return torch.stack([solve(*each) for each in zip(*parts, strict=True)])

    def _prepared(self, x: Tensor) -> Tensor:
        prepared: Tensor = self._start.network.backbone.prepare(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return prepared

    def _steps(
        self, start: NamedTensors, rates: Tensor, order: Order, x: Tensor, y: Tensor, ways: int
    ) -> Iterator[NamedTensors]:
        def objective(values: NamedTensors) -> Tensor:
            return cross_entropy(self._logits(values, x, ways), y)

        return gradient_descent(
            objective, start, rates, order, func_gradient if self._vectorised else autograd_gradient
        )

    def _query_logits(self, values: NamedTensors, support: Tensor, query: Tensor, ways: int) -> Tensor:
        x = torch.cat([support, query]) if self._by_support else query
        return self._logits(values, x, ways)[-len(query) :]

    def _logits(self, values: NamedTensors, x: Tensor, ways: int) -> Tensor:
        logits = functional_call(self._start.network, dict(values), (x,))
        return at_least_float32(logits)[:, :ways]
