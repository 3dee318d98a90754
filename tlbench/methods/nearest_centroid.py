"""SimpleShot: the nearest class mean of frozen features, after centring them on the training mean and normalising.

Wang, Chao, Weinberger and van der Maaten 2019, "SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
Learning", arXiv:1911.04623, section 3. The mean that is subtracted (the C of CL2N) is that of the labelled training
examples; in episodes it is that of the training classes, so that it depends on no query and no test class.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, choice, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.fewshot.centroids import centroid_logits, transform_features
from tlbench.training.fewshot.episodes import validate_on_episodes
from tlbench.training.fewshot.prototypes import distance_logits, prototypes
from tlbench.training.predictor import EmbeddingEpisodeLearner, FeaturePredictor, Predictor
from tlbench.training.validation_scores import score_logits

PROTOCOLS = ("classification", "episodic")
FROZEN_BACKBONE = True
_VALIDATION_EPISODES = 200


class Config(MethodConfig):
    """Parameters of the nearest centroid."""

    transform: Literal["none", "l2", "cl2n"] = tunable(
        "cl2n", choice("none", "l2", "cl2n"), "transform of features: none, normalise, or centre and normalise"
    )


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots."""
    if info.protocol == "episodic" and info.shots == "full":
        return "an episode has a number of shots, not all examples"
    return None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor | EmbeddingEpisodeLearner:
    """Compute the class means (classification), or only the mean for centring (episodes)."""
    z = ctx.frozen_features(task.train)
    mean = z.mean(0)
    transform = partial(transform_features, mean=mean, kind=cfg.transform)
    if task.info.protocol == "episodic":
        learner = CentroidLearner(backbone, transform, stored=mean.numel() if cfg.transform == "cl2n" else 0)
        validate_on_episodes(learner, task.info, task.val, _VALIDATION_EPISODES, ctx)
        return learner
    labels = torch.from_numpy(task.train.labels).to(z.device)
    centres = prototypes(transform(z)[None], labels[None], task.info.classes)
    head = partial(centroid_logits, transform=transform, centres=centres)
    if task.val is not None:
        truth = torch.from_numpy(task.val.labels).to(z.device)
        ctx.report_validation(score_logits(head(ctx.frozen_features(task.val)), truth, ctx.metric))
    stored = centres.numel() + (mean.numel() if cfg.transform == "cl2n" else 0)
    return FeaturePredictor(backbone, head, trainable=centres.numel(), stored=stored)


class CentroidLearner:
    """Solves an episode by the class means of its support; the embedding is the backbone as given."""

    encoder: nn.Module | None = None
    transductive = False

    def __init__(self, backbone: Backbone, transform: partial[Tensor], stored: int) -> None:
        self._backbone = backbone
        self._transform = transform
        self._stored = stored

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        return distance_logits(self._transform(query), prototypes(self._transform(support), labels, ways))

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        total = sum(parameter.numel() for parameter in self._backbone.parameters())
        return Footprint(trainable=0, total=total + self._stored, stored_bytes=4 * self._stored)
