"""Linear head: a linear classifier on the frozen backbone, trained by gradient descent as the fine-tuning family is.

The control of that family: it has their head, optimiser, schedule and number of steps, and trains nothing else. What
they gain over it they gain by changing the network; what it lacks against ``linear_probe``, the same classifier solved
to convergence with its own regularisation, they lack as an optimisation too (Kornblith, Shlens and Le 2019,
arXiv:1805.08974, section 3, solve theirs). It reads the cached features, as ``linear_probe`` does.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import Augment, BatchNorm, FineTuningConfig, Mix, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import zero_head
from tlbench.training.context import Context
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import FeaturePredictor, Predictor
from tlbench.training.recipe import usual_rate
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification",)
FROZEN_BACKBONE = True
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 60, "lr": 0.1}


class Config(FineTuningConfig):
    """Parameters of the linear head."""

    lr: float | None = tunable(None, log_uniform(1e-4, 1e-1), "learning rate", gt=0)
    head_multiplier: float = Field(1.0, ge=1, le=1, description="none: there is nothing but the head")
    augment: Augment = Field("none", description="none: features are computed once, of images as they are")
    mix: Mix = Field("none", description="none, likewise")
    batch_norm: BatchNorm | None = Field("frozen", description="running statistics stay, as nothing else is trained")

    @field_validator("augment", "mix")
    @classmethod
    def _images_stay(cls, value: str) -> str:
        if value != "none":
            raise ValueError(f"must be 'none', not {value!r}: features are computed once, of images as they are")
        return value


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the head on the frozen features."""
    head = zero_head(backbone.out_dim, task.info.classes).to(ctx.device)
    lr = usual_rate(cfg.lr, "head", backbone.info, ctx)
    groups = parameter_groups([(head.parameters(), lr)], cfg.weight_decay)
    train_classifier(head, groups, task.train, task.val, cfg, ctx, LoopOptions(features=ctx.frozen_features))
    size = sum(parameter.numel() for parameter in head.parameters())
    return FeaturePredictor(backbone, head.eval(), trainable=size, stored=size)
