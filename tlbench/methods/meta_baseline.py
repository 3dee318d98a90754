"""Meta-Baseline: train a classifier of all training classes, then its cosines to class means, on episodes.

Chen, Liu, Xu, Darrell and Wang 2021, "Meta-Baseline: Exploring Simple Meta-Learning for Few-Shot Learning",
arXiv:2003.04390, section 3. The head of the first stage is thrown away; the second trains the whole network on the
cross-entropy of tau * cos(query, class mean), with a learnt tau that starts at 10, by SGD with momentum 0.9, several
episodes a step. The encoder is kept from the check that was best on episodes of the validation classes, the first of
which comes before the second stage: that one may make new classes harder, as the paper saw. It embeds in evaluation
mode.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.class_splits import forbids_training
from tlbench.core.config import EpisodicConfig, TrainingConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.fewshot.base_classifier import train_base_classifier
from tlbench.training.fewshot.cosine_head import cosine_logits
from tlbench.training.fewshot.episodic_loop import (
    EpisodeBatch,
    embed_episodes,
    require_enough_classes,
    train_on_episodes,
)
from tlbench.training.fewshot.prototypes import prototypes
from tlbench.training.parameter_groups import make_optimizer, parameter_groups
from tlbench.training.predictor import EmbeddingEpisodeLearner, ModulePredictor

PROTOCOLS = ("episodic",)
SEGMENTABLE = ("episodic",)
QUICK = {"epochs": 4, "episodes": 60, "check_every": 20, "checks": 20}


class Config(EpisodicConfig, TrainingConfig):
    """Parameters of Meta-Baseline; of the training of the classifier those that say nothing of episodes."""

    epochs: int = Field(10, ge=0, description="passes of the classifier's training; 0 starts from the given weights")
    batch_size: int = Field(64, ge=4, description="largest global batch of it")
    classifier_lr: float = tunable(3e-3, log_uniform(3e-4, 1e-2), "rate of it", lasting=True, gt=0)
    head: Literal["linear", "cosine"] = tunable(
        "linear", choice("linear", "cosine"), "what the classifier ends in", lasting=True
    )
    ways: int = tunable(5, choice(5, 20), "classes in a training episode; fewer where there are fewer", ge=2)
    queries: int = tunable(15, choice(5, 15), "queries of each class in a training episode", ge=1)
    per_step: int = Field(4, ge=1, description="episodes of one step")
    lr: float = tunable(1e-3, log_uniform(1e-4, 1e-2), "rate of the training on episodes, which stays", gt=0)
    weight_decay: float = tunable(5e-4, log_uniform(1e-6, 1e-1), "of matrices and kernels only, in both", ge=0)
    scale: float = Field(10.0, gt=0, description="tau at the start, and the factor of a cosine head")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots, and training classes that are too few or too small."""
    return forbids_training(info, cfg.queries)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Train the backbone on the training classes, all of them at once and then episode by episode."""
    require_enough_classes(task, cfg)
    if cfg.epochs:
        own = replace(ctx, curves={})
        train_base_classifier(backbone, task.train, cfg, cfg.classifier_lr, cfg.head, cfg.scale, own)
        ctx.curves["classifier_loss"] = own.curves["train_loss"]
    model = ScaledEmbedding(backbone, cfg.scale).to(ctx.device)
    optimizer = make_optimizer("sgd", parameter_groups([(model.parameters(), cfg.lr)], cfg.weight_decay))
    learner = CosinePrototypeLearner(model)
    encoder, examples = ctx.wrap(backbone), Examples(task.train, ctx.device)

    def backward(batch: EpisodeBatch) -> Tensor:
        support, query = embed_episodes(encoder, examples, batch, ctx)
        logits = learner.classify(support, batch.support_y, query, batch.ways)
        loss = cross_entropy(logits.flatten(0, 1), batch.query_y.flatten())
        loss.backward()
        return loss.detach()

    train_on_episodes(
        model,
        learner,
        optimizer,
        task,
        cfg,
        ctx,
        backward,
        rate=lambda done: 1.0,
        per_step=cfg.per_step,
        from_start=cfg.epochs > 0,
    )
    ctx.selected["scale"] = model.scale.item()
    return learner


class ScaledEmbedding(nn.Module):
    """The backbone, and beside it the factor of the cosines between its features.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        scale: The factor at the start.
    """

    def __init__(self, backbone: Backbone, scale: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, out_dim) of raw inputs."""
        return self.backbone(x)


class CosinePrototypeLearner:
    """Learns an episode by taking the means of its embedded support, of which the directions count."""

    encoder: nn.Module | None
    transductive = False

    def __init__(self, model: ScaledEmbedding) -> None:
        self.encoder = model
        self._scale = model.scale
        self._footprint = ModulePredictor(model, list(model.parameters())).footprint()

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        return cosine_logits(query, prototypes(support, labels, ways), self._scale)

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
        return self._footprint
