"""L2-SP: fine-tuning that is pulled back to where it started instead of to zero.

Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv:1802.01483, section 3: the loss plus alpha / 2 ||w - w0||^2 over the backbone and beta / 2 ||v||^2 over the head,
biases and normalisation included. These take the place of weight decay, and are computed in the parameters' precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.supervised_loop import train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(FineTuningConfig):
    """Parameters of L2-SP."""

    lr: float = tunable(1e-3, log_uniform(1e-5, 1e-2), "rate of the backbone", gt=0)
    alpha: float = tunable(0.1, log_uniform(1e-3, 1.0), "pull of the backbone to its start", ge=0)
    beta: float = tunable(0.01, log_uniform(1e-4, 0.1), "pull of the head to zero", ge=0)
    weight_decay: float = Field(0.0, ge=0, le=0, description="none: the pulls take its place")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network under both pulls."""
    model = Classifier(backbone, task.info.classes).to(ctx.device)
    parts = [(backbone.parameters(), cfg.lr), (model.head.parameters(), cfg.lr * cfg.head_multiplier)]
    to_start, to_zero = (
        half_squared_distance(backbone.parameters()),
        half_squared_distance(model.head.parameters(), start=0.0),
    )

    def penalty() -> Tensor:
        return cfg.alpha * to_start() + cfg.beta * to_zero()

    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, batch_norm=cfg.batch_norm, penalty=penalty)
    return ModulePredictor(model, list(model.parameters()))


def half_squared_distance(parameters: Iterable[nn.Parameter], start: float | None = None) -> Callable[[], Tensor]:
    """Return a function that gives 1/2 ||w - w0||^2, w0 being the values of now, or one number."""
    trained = list(parameters)
    origin = [torch.full_like(p, start) if start is not None else p.detach().clone() for p in trained]

    return lambda: _HalfSquare.apply(origin, *trained)


class _HalfSquare(torch.autograd.Function):
    """1/2 ||w - w0||^2 of many tensors at once; the gradient is the difference that was computed on the way."""

    @staticmethod
    def forward(ctx: Any, origin: list[Tensor], *trained: Tensor) -> Tensor:
        ctx.moved = torch._foreach_sub(trained, origin)
        return 0.5 * torch.stack(torch._foreach_norm(ctx.moved)).square().sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.moved, gradients[0])
