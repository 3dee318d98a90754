"""Meta-Baseline: train a classifier of all training classes, then its cosines to class means, on episodes.

Chen, Liu, Xu, Darrell and Wang 2021, "Meta-Baseline: Exploring Simple Meta-Learning for Few-Shot Learning",
arXiv:2003.04390, section 3. The head of the first stage is discarded; the second stage trains the whole network on the
cross-entropy of tau * cos(query, class mean), with a learnt tau that is initialised to 10, by SGD with momentum 0.9 and
several episodes per step. The encoder with the best score on episodes of the validation classes is selected, including
that before the second stage, as that stage may make generalisation to new classes worse (as in the paper). It embeds in
evaluation mode.
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
    EpisodicTraining,
    embed_episodes,
    require_enough_classes,
    train_on_episodes,
)
from tlbench.training.fewshot.prototypes import prototypes
from tlbench.training.parameter_groups import make_optimizer, parameter_groups
from tlbench.training.predictor import EmbeddingEpisodeLearner, ModulePredictor
from tlbench.training.recipe import base_classifier_recipe, is_published, usual_batch_norm

PROTOCOLS = ("episodic",)
SEGMENTABLE = ("episodic",)
QUICK = {"epochs": 4, "episodes": 60, "check_every": 20, "checks": 20}


class Config(EpisodicConfig, TrainingConfig):
    """Parameters of Meta-Baseline; those that do not mention episodes are of the classifier's training."""

    epochs: int = Field(10, ge=0, description="epochs of the classifier's training; 0 starts from the given weights")
    batch_size: int = Field(64, ge=4, description="largest global batch of it")
    classifier_lr: float | None = tunable(
        None, log_uniform(1e-5, 1e-2), "its learning rate; null: by the weights", lasting=True, gt=0
    )
    head: Literal["linear", "cosine"] = tunable(
        "linear", choice("linear", "cosine"), "head of the classifier", lasting=True
    )
    ways: int = tunable(5, choice(5, 20), "classes in a training episode; fewer where there are fewer", ge=2)
    queries: int = tunable(15, choice(5, 15), "queries of each class in a training episode", ge=1)
    per_step: int = Field(4, ge=1, description="episodes per step")
    lr: float = tunable(1e-3, log_uniform(1e-4, 1e-2), "learning rate of the training on episodes, constant", gt=0)
    weight_decay: float = tunable(5e-4, log_uniform(1e-6, 1e-1), "of matrices and kernels only, in both", ge=0)
    scale: float = Field(10.0, gt=0, description="initial tau, and the factor of a cosine head")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots, and training classes that are too few or too small."""
    return forbids_training(info, cfg.queries)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Train the backbone on the training classes, all of them at once and then episode by episode."""
    require_enough_classes(task, cfg)
    if cfg.epochs:
        own = replace(ctx, curves={})
        recipe = base_classifier_recipe(cfg.classifier_lr, cfg.batch_norm, backbone.info, ctx, "classifier_lr")
        train_base_classifier(backbone, task.train, cfg, recipe, cfg.head, cfg.scale, own)
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

    training = EpisodicTraining(
        model,
        learner,
        optimizer,
        backward,
        rate=lambda done: 1.0,
        episodes_per_step=cfg.per_step,
        score_initial=cfg.epochs > 0 or is_published(backbone.info),
        batch_norm=usual_batch_norm(cfg.batch_norm, backbone.info, ctx),
    )
    train_on_episodes(training, task, cfg, ctx)
    ctx.selected["scale"] = model.scale.item()
    return learner


class ScaledEmbedding(nn.Module):
    """The backbone, together with the learnt factor of cosines, which ``forward`` does not use.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        scale: Initial value of the factor.
    """

    def __init__(self, backbone: Backbone, scale: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, out_dim) of raw inputs."""
        z: Tensor = self.backbone(x)
        return z


class CosinePrototypeLearner:
    """Solves an episode by the cosines of queries to the class means of the embedded support."""

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
        """Return the parameter counts and the storage that a task needs."""
        return self._footprint
