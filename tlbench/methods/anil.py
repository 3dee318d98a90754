"""ANIL: MAML that adapts only the head within an episode, on an embedding that is learned across episodes.

Raghu, Raghu, Bengio and Vinyals 2020, "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of
MAML", arXiv:1909.09157, section 4. As the embedding does not change within an episode, every example is embedded once;
at test time with running statistics of batch normalisation, so that predictions do not depend on other queries. The
head has as many outputs as test episodes have ways, so training episodes have the same number of ways.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.class_splits import forbids_training
from tlbench.core.config import BatchNormConfig, FixedWaysConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.batches import Examples
from tlbench.training.classifier import random_head
from tlbench.training.context import Context
from tlbench.training.fewshot.episodic_loop import EpisodeBatch, EpisodicTraining, embed_episodes, train_on_episodes
from tlbench.training.fewshot.inner_loop import NamedTensors, gradient_descent
from tlbench.training.predictor import EmbeddingEpisodeLearner, ModulePredictor
from tlbench.training.recipe import usual_batch_norm, usual_rate
from tlbench.training.schedules import warmup_cosine

PROTOCOLS = ("episodic",)
SEGMENTABLE = ("episodic",)
QUICK = {"episodes": 96, "check_every": 32, "checks": 10, "lr": 3e-3, "inner_lr": 0.5}


class Config(BatchNormConfig, FixedWaysConfig):
    """Parameters of ANIL."""

    episodes: int = Field(4000, ge=1, description="training episodes")
    check_every: int = Field(400, ge=1, description="episodes between two checks on validation")
    per_step: int = tunable(4, choice(4, 16, 32), "episodes per step", ge=1)
    lr: float | None = tunable(
        None, log_uniform(1e-5, 3e-3), "learning rate of Adam, across episodes; null: by the weights", gt=0
    )
    schedule: Literal["constant", "cosine"] = Field("cosine", description="schedule of that learning rate")
    inner_lr: float = tunable(0.1, log_uniform(0.01, 0.5), "learning rate within an episode", lasting=True, gt=0)
    inner_steps: int = tunable(5, choice(1, 3, 5), "steps within a training episode", ge=1)
    test_steps: int = tunable(10, choice(5, 10), "steps within a test episode", lasting=True, ge=1)
    order: Literal[1, 2] = tunable(2, choice(1, 2), "1 treats the gradients within an episode as constants")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots, and training classes that are too few or too small."""
    return forbids_training(info, cfg.queries, info.classes)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Train the backbone and the initial head on episodes of the training classes."""
    embedding = Embedding(backbone, task.info.classes, ctx.generator("head")).to(ctx.device)
    learner, encoder, examples = (
        HeadDescentLearner(embedding, cfg),
        ctx.wrap(backbone),
        Examples(task.train, ctx.device),
    )
    lr = usual_rate(cfg.lr, "episodes", backbone.info, ctx)
    batch_norm = usual_batch_norm(cfg.batch_norm, backbone.info, ctx)
    groups = [{"params": list(embedding.parameters()), "lr": lr, "base_lr": lr}]
    optimizer = torch.optim.Adam(groups, fused=True)

    def backward(batch: EpisodeBatch) -> Tensor:
        support, query = embed_episodes(encoder, examples, batch, ctx)
        loss = learner.loss(support, batch.support_y, query, batch.query_y, batch.ways)
        loss.backward()
        return loss.detach()

    def rate(done: int) -> float:
        return warmup_cosine(done, cfg.episodes, 0.0) if cfg.schedule == "cosine" else 1.0

    training = EpisodicTraining(embedding, learner, optimizer, backward, rate, cfg.per_step, batch_norm=batch_norm)
    train_on_episodes(training, task, cfg, ctx)
    return learner


class Embedding(nn.Module):
    """The backbone, together with the initial head of every episode, which ``forward`` does not use.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        outputs: Number of classes.
        generator: Generator of the head.
    """

    def __init__(self, backbone: Backbone, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = random_head(backbone.out_dim, outputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, out_dim) of raw inputs."""
        z: Tensor = self.backbone(x)
        return z


class HeadDescentLearner:
    """Solves episodes by gradient descent of a linear head on the embedded support, all episodes at once.

    Args:
        embedding: The embedding and the initial head.
        cfg: Number of steps, learning rate and order.
    """

    encoder: nn.Module | None
    transductive = False

    def __init__(self, embedding: Embedding, cfg: Config) -> None:
        self.encoder = embedding
        self._head = embedding.head
        self._cfg = cfg
        self._footprint = ModulePredictor(embedding, list(embedding.parameters())).footprint()

    def loss(self, support: Tensor, labels: Tensor, query: Tensor, truth: Tensor, ways: int) -> Tensor:
        """Return the mean loss of embedded queries (E, Q, D) with labels (E, Q) after ``cfg.inner_steps`` steps."""
        start = self._heads(len(support), ways)
        values = self._adapt(start, support, labels, self._cfg.inner_steps, self._cfg.order)
        return _loss(values, query, truth) / len(query)

    @torch.enable_grad()
    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D).

        Raises:
            ValueError: There are more ways than the head has outputs.
        """
        if ways > self._head.out_features:
            raise ValueError(f"{ways} ways, but the head has {self._head.out_features} outputs")
        support, query = (z.detach().to(self._head.weight.dtype) for z in (support, query))
        start = {name: value.detach().requires_grad_() for name, value in self._heads(len(support), ways).items()}
        values = self._adapt(start, support, labels, self._cfg.test_steps, 1)
        return _logits(values, query).detach()

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        return self._footprint

    def _heads(self, episodes: int, ways: int) -> NamedTensors:
        """Return the initial head of each episode: weights (E, ways, D) and biases (E, ways)."""
        return {
            name: value[:ways].expand(episodes, *value[:ways].shape) for name, value in self._head.named_parameters()
        }

    def _adapt(
        self, start: NamedTensors, support: Tensor, labels: Tensor, steps: int, order: Literal[1, 2]
    ) -> NamedTensors:
        rates = torch.full((steps, len(start)), self._cfg.inner_lr, device=support.device)
        *_, values = gradient_descent(lambda values: _loss(values, support, labels), start, rates, order)
        return values


def _logits(heads: NamedTensors, z: Tensor) -> Tensor:
    return torch.baddbmm(heads["bias"][:, None], z, heads["weight"].mT)


def _loss(heads: NamedTensors, z: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over episodes, each with a head of its own, of the mean loss of its examples."""
    return cross_entropy(_logits(heads, z).flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1]
