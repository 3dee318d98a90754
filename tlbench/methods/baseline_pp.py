"""Baseline++: train a cosine classifier of all training classes, then in each episode a new one on the frozen body.

Chen, Liu, Kira, Wang and Huang 2019, "A Closer Look at Few-shot Classification", arXiv:1904.04232, section 3.2. Two
things differ in an episode, so that it needs no draw: the new directions start at the class means of the support, not
at random, and every step takes the whole support, not a part. No weight decay: cosines do not see a direction's length.
The authors' code damps SGD (dampening 0.9, beside momentum 0.9), so that its steps are up to ten times smaller at the
same rate; here nothing is damped.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import TrainingConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.fewshot.base_classifier import train_base_classifier
from tlbench.training.fewshot.cosine_head import cosine_logits
from tlbench.training.fewshot.episodes import episode_scores, validation_episodes
from tlbench.training.precision import at_least_float32
from tlbench.training.predictor import EmbeddingEpisodeLearner, ModulePredictor

PROTOCOLS = ("episodic",)
QUICK = {"epochs": 6}
_VALIDATION_EPISODES = 200
_MOMENTUM = 0.9


class Config(TrainingConfig):
    """Parameters of Baseline++."""

    epochs: int = Field(20, ge=1, description="passes over the training classes")
    batch_size: int = Field(64, ge=4, description="largest global batch")
    lr: float = tunable(3e-3, log_uniform(3e-4, 1e-2), "rate of all layers", gt=0)
    scale: float = tunable(10.0, choice(5.0, 10.0, 20.0), "factor of the cosines", gt=0)
    steps: int = Field(100, ge=0, description="steps of an episode's classifier; 0 leaves it at the class means")
    support_lr: float = tunable(0.01, log_uniform(1e-3, 1.0), "rate of an episode's classifier", gt=0)


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots."""
    return "an episode has a number of shots, not all examples" if info.shots == "full" else None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Train the backbone on the training classes."""
    train_base_classifier(backbone, task.train, cfg, cfg.lr, "cosine", cfg.scale, ctx)
    learner = CosineClassifierLearner(backbone, cfg)
    episodes = validation_episodes(task.info, task.val, _VALIDATION_EPISODES, ctx)
    if episodes is not None and task.val is not None:
        ctx.validation.update(episode_scores(learner, task.val, episodes, ctx)._asdict())
    return learner


class CosineClassifierLearner:
    """Learns an episode by fitting a cosine classifier to its embedded support."""

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
        """Return what it costs to keep."""
        return self._footprint


def fit_directions(z: Tensor, labels: Tensor, ways: int, scale: float, steps: int, lr: float) -> Tensor:
    """Return directions (E, ways, D) of cosine classifiers, trained by gradient descent with momentum 0.9.

    All episodes are trained at once, and in the span of their support: a direction is kept as its coefficients of the
    normalised support examples, whose products are computed once, so that a step costs the same for any D.

    Args:
        z: Embedded support (E, S, D).
        labels: Its labels (E, S).
        ways: Number of classes.
        scale: Factor of the cosines.
        steps: How many.
        lr: Rate of the mean cross-entropy's gradient, by directions that start at length 1.
    """
    z = normalize(at_least_float32(z), dim=2)
    products = z @ z.transpose(1, 2)
    member = one_hot(labels, ways).transpose(1, 2).to(z.dtype)
    tiny = torch.finfo(z.dtype).tiny

    def seen(coefficients: Tensor) -> tuple[Tensor, Tensor]:
        dots = coefficients @ products
        length = (coefficients * dots).sum(2, keepdim=True).clamp_min(tiny).sqrt()
        return dots / length, length

    coefficients = member / seen(member)[1]
    speed = torch.zeros_like(coefficients)
    for _ in range(steps):
        cosines, length = seen(coefficients)
        pull = scale / z.shape[1] * ((scale * cosines).softmax(1) - member)
        along = (pull * cosines).sum(2, keepdim=True)
        speed = _MOMENTUM * speed + (pull - along / length * coefficients) / length
        coefficients = coefficients - lr * speed
    return coefficients @ z
