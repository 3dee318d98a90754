"""Training on the labels of a task, after self-supervised training on its inputs."""

from __future__ import annotations

from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import SelfSupervisedConfig
from tlbench.data.dataset import Split, Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.linear_probe import initialise_head
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor
from tlbench.training.recipe import fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier


def train_downstream(task: Task, backbone: Backbone, cfg: SelfSupervisedConfig, ctx: Context) -> ModulePredictor:
    """Fine-tune a backbone from its current weights, or fit a linear probe on its features.

    Args:
        task: Training and validation examples.
        backbone: The backbone after self-supervised training; the context's frozen features are those before it.
        cfg: Which of the two, and the recipe of fine-tuning.
        ctx: Device, randomness, epochs and processes.
    """
    if cfg.then == "probe":
        return fit_downstream_probe(task, backbone, ctx)
    model = Classifier(backbone, task.info.classes)
    recipe = cfg.model_copy(update={"epochs": cfg.tune_epochs})
    tuning = fine_tuning_recipe(cfg.model_copy(update={"lr": cfg.tune_lr}), "network", backbone, ctx, "tune_lr")
    parts = [(backbone.parameters(), tuning.lr), (model.head.parameters(), tuning.head_lr)]
    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, recipe, ctx, LoopOptions(batch_norm=tuning.batch_norm))
    return ModulePredictor(model, list(model.parameters()))


def fit_downstream_probe(
    task: Task,
    backbone: Backbone,
    ctx: Context,
    C: float | None = None,  # noqa: N803 - the field's name
    *,
    labels_seen: bool = False,
) -> ModulePredictor:
    """Fit a linear probe on the features of a backbone as it is now.

    Args:
        task: Training examples; validation examples or folds, which choose C.
        backbone: The backbone after a training; the context's frozen features are those before it.
        ctx: Device, choices and processes.
        C: Inverse regularisation; None chooses it.
        labels_seen: Whether the backbone was trained on the training labels. Folds of them then still choose C, but
            their scores are not reported, since no example of a fold is new to the backbone.
    """

    def features(split: Split) -> Tensor:
        return embed(backbone, split.x, None, ctx.device).to(ctx.device)

    model = Classifier(backbone, task.info.classes).to(ctx.device)
    probe = initialise_head(model, task, ctx, features, C)
    ctx.selected["C"] = probe.C
    if probe.scores is not None and not (labels_seen and task.val is None):
        ctx.report_validation(probe.scores)
    return ModulePredictor(model, list(model.parameters()))
