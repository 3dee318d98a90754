"""L2-SP: fine-tuning with weight decay towards the initial weights instead of zero.

Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv:1802.01483, section 3: the loss plus alpha / 2 ||w - w0||^2 over the backbone and beta / 2 ||v||^2 over the head,
including biases and normalisation. These penalties replace weight decay, and are computed in the parameters' dtype.
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
from tlbench.training.recipe import fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(FineTuningConfig):
    """Parameters of L2-SP."""

    lr: float | None = tunable(None, log_uniform(1e-5, 1e-2), "learning rate of the backbone", gt=0)
    alpha: float = tunable(
        0.1, log_uniform(1e-3, 1.0), "penalty of the backbone's distance to its initial weights", ge=0
    )
    beta: float = tunable(0.01, log_uniform(1e-4, 0.1), "penalty of the head's weights", ge=0)
    weight_decay: float = Field(0.0, ge=0, le=0, description="none: the penalties replace it")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network under both penalties."""
    model = Classifier(backbone, task.info.classes).to(ctx.device)
    recipe = fine_tuning_recipe(cfg, "network", backbone, ctx)
    parts = [(backbone.parameters(), recipe.lr), (model.head.parameters(), recipe.head_lr)]
    from_start = half_squared_distance(backbone.parameters())
    from_zero = half_squared_distance(model.head.parameters(), start=0.0)

    def penalty() -> Tensor:
        return cfg.alpha * from_start() + cfg.beta * from_zero()

    groups = parameter_groups(parts, cfg.weight_decay)
    options = LoopOptions(batch_norm=recipe.batch_norm, penalty=penalty)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, options)
    return ModulePredictor(model, list(model.parameters()))


def half_squared_distance(parameters: Iterable[nn.Parameter], start: float | None = None) -> Callable[[], Tensor]:
    """Return a function that computes 1/2 ||w - w0||^2 of the parameters' values w at the time of its call.

    Args:
        parameters: The parameters.
        start: The value of all entries of w0; None takes the current values of the parameters.
    """
    trained = list(parameters)
    origin = [torch.full_like(p, start) if start is not None else p.detach().clone() for p in trained]

    def distance() -> Tensor:
        value: Tensor = _HalfSquare.apply(origin, *trained)
        return value

    return distance


class _HalfSquare(torch.autograd.Function):
    """1/2 ||w - w0||^2 of many tensors at once; its gradient is the difference, which the forward pass computes."""

    @staticmethod
    def forward(ctx: Any, origin: list[Tensor], *trained: Tensor) -> Tensor:
        ctx.differences = torch._foreach_sub(trained, origin)
        return 0.5 * torch.stack(torch._foreach_norm(ctx.differences)).square().sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.differences, gradients[0])
