"""Training of a few added tensors beside a frozen backbone: what parameter-efficient methods share."""

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
from tlbench.training.supervised_loop import train_classifier


def normalisation_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """Return the scales and shifts of all normalisation layers, which are known by their class's name."""
    owned = (list(m.parameters(recurse=False)) for m in backbone.modules() if "Norm" in type(m).__name__)
    return [parameter for own in owned if all(p.ndim == 1 for p in own) for parameter in own]


def train_added_parameters(
    model: Classifier, added: Sequence[nn.Parameter], lr: float, task: Task, cfg: FineTuningConfig, ctx: Context
) -> ModulePredictor:
    """Train some parameters of a classifier and its head, and freeze everything else.

    The predictor stores what was trained, and the running statistics where the policy lets them move.

    Args:
        model: The classifier, with whatever was added to its backbone.
        added: What to train beside the head.
        lr: Their rate.
        task: What to train on and to select by.
        cfg: How to train, with the head's rate over theirs.
        ctx: Device, randomness, epochs and processes.
    """
    model.requires_grad_(False)
    trained = [*added, *model.head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    parts = [(added, lr), (model.head.parameters(), lr * cfg.head_multiplier)]
    groups = parameter_groups(parts, cfg.weight_decay)
    before = [buffer.cpu().clone() for buffer in model.buffers()]
    train_classifier(model, groups, task.train, task.val, cfg, ctx, batch_norm=cfg.batch_norm)
    moved = [now for now, old in zip(model.buffers(), before, strict=True) if not torch.equal(now.cpu(), old)]
    return ModulePredictor(model, trained, [*trained, *moved])
