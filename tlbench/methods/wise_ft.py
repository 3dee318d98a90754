"""WiSE-FT: interpolate between the weights before and after fine-tuning.

Wortsman et al. 2021, "Robust fine-tuning of zero-shot models", arXiv:2109.01903: (1 - alpha) * start + alpha * end, in
weight space. Without a zero-shot classifier, the start is the pre-trained backbone with a linear probe as its head, and
the end is fine-tuned from it, so that both ends are good classifiers. Running statistics are interpolated like weights;
integer buffers are those of the nearer end.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.batches import Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.evaluation import evaluate
from tlbench.training.linear_probe import initialise_head
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.recipe import fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier
from tlbench.training.validation_scores import ValidationScores

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
_GRID = tuple(step / 10 for step in range(11))
_UNTUNED = 0.5  # alpha where there is nothing to choose it by: the paper's recommendation (section 4)


class Config(FineTuningConfig):
    """Parameters of WiSE-FT; alpha is not searched, since it is chosen inside every fit."""

    lr: float | None = tunable(None, log_uniform(1e-5, 1e-2), "learning rate of the backbone", gt=0)
    head_multiplier: float = tunable(
        1.0, choice(1.0, 3.0, 10.0), "ratio of the learning rates of head and backbone", gt=0
    )
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics are updated")
    alpha: float | None = Field(None, ge=0, le=1, description="weight of the end; null chooses it on validation")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Fine-tune from the probe, then choose a point between the two."""
    model = Classifier(backbone, task.info.classes).to(ctx.device)
    ctx.selected["C"] = initialise_head(model, task, ctx, balanced=cfg.balance == "weights").C
    start = {name: value.detach().clone() for name, value in model.state_dict().items()}
    recipe = fine_tuning_recipe(cfg, "network", backbone, ctx)
    parts = [(backbone.parameters(), recipe.lr), (model.head.parameters(), recipe.head_lr)]
    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, LoopOptions(batch_norm=recipe.batch_norm))
    end = {name: value.detach().clone() for name, value in model.state_dict().items()}
    alpha = float(ctx.fixed.get("alpha", _UNTUNED)) if cfg.alpha is None else cfg.alpha
    if task.val is not None:
        held_out, scores = Examples(task.val, ctx.device), dict[float, ValidationScores]()
        for candidate in _GRID if cfg.alpha is None else (alpha,):
            model.load_state_dict(interpolate_states(start, end, candidate))
            scores[candidate] = evaluate(model, held_out, ctx)
        alpha = ctx.choose("alpha", scores)
        ctx.report_validation(scores[alpha])
    ctx.selected["alpha"] = alpha
    model.load_state_dict(interpolate_states(start, end, alpha))
    if alpha == 0:
        head = list(model.head.parameters())
        return ModulePredictor(model, head, head)
    return ModulePredictor(model, list(model.parameters()))


def interpolate_states(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return the state dict (1 - alpha) * start + alpha * end; 0 and 1 give the ends bit for bit.

    Integer tensors are those of the nearer end. Tensors that are equal at both ends are not interpolated, as they may
    contain infinite values.
    """
    nearer = start if alpha < 0.5 else end
    names = [name for name, v in end.items() if v.is_floating_point() and not torch.equal(v, start[name])]
    if not names:
        return dict(nearer)
    mixed = torch._foreach_lerp([start[name] for name in names], [end[name] for name in names], alpha)
    return {**nearer, **dict(zip(names, mixed, strict=True))}
