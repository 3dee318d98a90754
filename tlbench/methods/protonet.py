"""Prototypical networks: learn an embedding in which queries are nearest to the mean of their class's support.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", arXiv:1703.05175, sections 2.2 to 2.4:
squared Euclidean distance, no temperature, as many shots in training as in the test, more ways, Adam with a learning
rate that is halved every 2000 episodes. Published trainings continue until validation stops improving; the default
number of episodes takes a CPU minutes. The encoder with the best score on episodes of the validation classes is
selected, among them the given weights where they are published; it embeds in evaluation mode, so that predictions do
not depend on other queries.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.class_splits import forbids_training
from tlbench.core.config import EpisodicConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.fewshot.episodic_loop import EpisodeBatch, EpisodicTraining, embed_episodes, train_on_episodes
from tlbench.training.fewshot.prototypes import distance_logits, prototypes
from tlbench.training.predictor import EmbeddingEpisodeLearner, ModulePredictor
from tlbench.training.recipe import is_published, usual_batch_norm, usual_rate
from tlbench.training.schedules import step_halving

PROTOCOLS = ("episodic",)
SEGMENTABLE = ("episodic",)
QUICK = {"episodes": 60, "check_every": 20, "checks": 20}


class Config(EpisodicConfig):
    """Parameters of prototypical networks."""

    ways: int = tunable(60, choice(5, 20, 60), "classes in a training episode; fewer where there are fewer", ge=2)
    lr: float | None = tunable(
        None, log_uniform(1e-5, 3e-3), "learning rate of Adam; null: by the weights, 1e-3 for one's own", gt=0
    )
    halve_every: int = Field(2000, ge=1, description="episodes between two halvings of the learning rate")
    patience: int | None = Field(20, ge=1, description="checks without improvement before stopping early")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots, and training classes that are too few or too small."""
    return forbids_training(info, cfg.queries)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Train the backbone on episodes of the training classes."""
    backbone.to(ctx.device)
    lr = usual_rate(cfg.lr, "episodes", backbone.info, ctx)
    batch_norm = usual_batch_norm(cfg.batch_norm, backbone.info, ctx)
    optimizer = torch.optim.Adam([{"params": list(backbone.parameters()), "lr": lr, "base_lr": lr}], fused=True)
    learner = PrototypeLearner(backbone)
    encoder, examples = ctx.wrap(backbone), Examples(task.train, ctx.device)

    def backward(batch: EpisodeBatch) -> Tensor:
        support, query = embed_episodes(encoder, examples, batch, ctx)
        logits = distance_logits(query, prototypes(support, batch.support_y, batch.ways))
        loss = cross_entropy(logits.flatten(0, 1), batch.query_y.flatten())
        loss.backward()
        return loss.detach()

    training = EpisodicTraining(
        backbone,
        learner,
        optimizer,
        backward,
        rate=lambda done: step_halving(done, cfg.halve_every),
        score_initial=is_published(backbone.info),
        batch_norm=batch_norm,
    )
    train_on_episodes(training, task, cfg, ctx)
    return learner


class PrototypeLearner:
    """Solves an episode by squared distances to the class means of the embedded support."""

    encoder: nn.Module | None
    transductive = False

    def __init__(self, encoder: Backbone) -> None:
        self.encoder = encoder
        self._footprint = ModulePredictor(encoder, list(encoder.parameters())).footprint()

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        return distance_logits(query, prototypes(support, labels, ways))

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        return self._footprint
