"""Training of a few parameters of a classifier while its backbone is frozen: the common part of such methods."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor
from tlbench.training.recipe import Trained, fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier


def normalisation_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """Return the scales and shifts of all normalisation layers, which are recognised by the name of their class."""
    owned = (list(m.parameters(recurse=False)) for m in backbone.modules() if "Norm" in type(m).__name__)
    return [parameter for own in owned if all(p.ndim == 1 for p in own) for parameter in own]


def train_added_parameters(
    model: Classifier, added: Sequence[nn.Parameter], trained: Trained, task: Task, cfg: FineTuningConfig, ctx: Context
) -> ModulePredictor:
    """Train some parameters of a classifier and its head, and freeze all others.

    The predictor stores the trained parameters, and those buffers that have changed (running statistics).

    Args:
        model: The classifier, including any parameters that were added to its backbone.
        added: The parameters to train besides the head.
        trained: What they are, which decides their learning rate where the suite leaves it open.
        task: Training and validation examples.
        cfg: The recipe.
        ctx: Device, randomness, epochs and processes.
    """
    model.requires_grad_(False)
    recipe = fine_tuning_recipe(cfg, trained, model.backbone, ctx)
    parameters = [*added, *model.head.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    parts = [(added, recipe.lr), (model.head.parameters(), recipe.head_lr)]
    groups = parameter_groups(parts, cfg.weight_decay)
    before = [buffer.cpu().clone() for buffer in model.buffers()]
    train_classifier(model, groups, task.train, task.val, cfg, ctx, LoopOptions(batch_norm=recipe.batch_norm))
    changed = [now for now, old in zip(model.buffers(), before, strict=True) if not torch.equal(now.cpu(), old)]
    return ModulePredictor(model, parameters, [*parameters, *changed])
