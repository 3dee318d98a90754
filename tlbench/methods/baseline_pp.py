"""Baseline++: train a cosine classifier of all training classes, then a new one in each episode on the frozen backbone.

Chen, Liu, Kira, Wang and Huang 2019, "A Closer Look at Few-shot Classification", arXiv:1904.04232, section 3.2. Two
things differ within an episode, so that nothing is random: the new directions start at the class means of the support,
and every step takes the whole support. There is no weight decay, as cosines do not depend on a direction's length. The
authors' code uses SGD with dampening 0.9 and momentum 0.9, so that its steps are up to ten times smaller at the same
learning rate; here there is no dampening.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNormConfig, TrainingConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.fewshot.base_classifier import train_base_classifier
from tlbench.training.fewshot.cosine_head import cosine_logits
from tlbench.training.fewshot.episodes import validate_on_episodes
from tlbench.training.precision import at_least_float32
from tlbench.training.predictor import EmbeddingEpisodeLearner, ModulePredictor
from tlbench.training.recipe import base_classifier_recipe

PROTOCOLS = ("episodic",)
QUICK = {"epochs": 6}
_VALIDATION_EPISODES = 200
_MOMENTUM = 0.9


class Config(BatchNormConfig, TrainingConfig):
    """Parameters of Baseline++."""

    epochs: int = Field(20, ge=1, description="epochs over the training classes")
    batch_size: int = Field(64, ge=4, description="largest global batch")
    lr: float | None = tunable(None, log_uniform(1e-5, 1e-2), "learning rate of all layers; null: by the weights", gt=0)
    scale: float = tunable(10.0, choice(5.0, 10.0, 20.0), "factor of the cosines", gt=0)
    steps: int = Field(
        100, ge=0, description="steps of an episode's classifier; with 0 its directions are the class means"
    )
    support_lr: float = tunable(0.01, log_uniform(1e-3, 1.0), "learning rate of an episode's classifier", gt=0)


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots."""
    return "an episode has a number of shots, not all examples" if info.shots == "full" else None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Train the backbone on the training classes."""
    recipe = base_classifier_recipe(cfg.lr, cfg.batch_norm, backbone.info, ctx)
    train_base_classifier(backbone, task.train, cfg, recipe, "cosine", cfg.scale, ctx)
    learner = CosineClassifierLearner(backbone, cfg)
    validate_on_episodes(learner, task.info, task.val, _VALIDATION_EPISODES, ctx)
    return learner


class CosineClassifierLearner:
    """Solves an episode by fitting a cosine classifier to its embedded support."""

    encoder: nn.Module | None
    transductive = False

    def __init__(self, encoder: Backbone, cfg: Config) -> None:
        self.encoder = encoder
        self._cfg = cfg
        self._footprint = ModulePredictor(encoder, list(encoder.parameters())).footprint()

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        cfg = self._cfg
        directions = fit_directions(support, labels, ways, cfg.scale, cfg.steps, cfg.support_lr)
        return cosine_logits(query, directions, cfg.scale)

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        return self._footprint


def fit_directions(z: Tensor, labels: Tensor, ways: int, scale: float, steps: int, lr: float) -> Tensor:
    """Return directions (E, ways, D) of cosine classifiers, trained by gradient descent with momentum 0.9.

    All episodes are trained at once, in the span of their support: a direction is represented by its coefficients of
    the normalised support examples, whose inner products are computed once, so that the cost of a step does not depend
    on D.

    Args:
        z: Embedded support (E, S, D).
        labels: Its labels (E, S).
        ways: Number of classes.
        scale: Factor of the cosines.
        steps: Number of steps.
        lr: Learning rate on the mean cross-entropy, for directions that have length 1 initially.
    """
    z = normalize(at_least_float32(z), dim=2)
    products = z @ z.transpose(1, 2)
    member = one_hot(labels, ways).transpose(1, 2).to(z.dtype)
    tiny = torch.finfo(z.dtype).tiny

    def cosines_and_length(coefficients: Tensor) -> tuple[Tensor, Tensor]:
        dots = coefficients @ products
        length = (coefficients * dots).sum(2, keepdim=True).clamp_min(tiny).sqrt()
        return dots / length, length

    coefficients = member / cosines_and_length(member)[1]
    velocity = torch.zeros_like(coefficients)
    for _ in range(steps):
        cosines, length = cosines_and_length(coefficients)
        by_cosine = scale / z.shape[1] * ((scale * cosines).softmax(1) - member)
        radial = (by_cosine * cosines).sum(2, keepdim=True)
        velocity = _MOMENTUM * velocity + (by_cosine - radial / length * coefficients) / length
        coefficients = coefficients - lr * velocity
    return coefficients @ z
