"""Distillation: train the backbone on the labels and on the predictions of a trained teacher.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2: the loss is
a CE + (1 - a) T^2 KL, where KL compares softmax(logits / T) of teacher and student. ``dkd`` is CE plus the two parts of
KL, weighted separately, whose weight rises over the first twelfth of the training (Zhao et al. 2022, arXiv:2203.08679,
section 4: 20 of 240 epochs). A student of its teacher's own architecture is a born-again network
(Furlanello et al. 2018, arXiv:1805.04770). Teacher and student get the same augmented images (Beyer et al. 2022,
arXiv:2106.05237). The controls are ``from_scratch``, without and with label smoothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import TrainingConfig, log_uniform, tunable, uniform
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.training.batches import Batch
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.distillation_losses import decoupled_kl, softened_kl
from tlbench.training.frozen_features import embed
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.recipe import usual_augmentation, usual_epochs
from tlbench.training.supervised_loop import LoopOptions, smoothed_cross_entropy, train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
TEACHER = True
VERSION = 2  # dkd weighted CE as kd does

_HARD_WEIGHT = 0.1  # of the labels in kd
_UNKNOWN = -1  # the label of an unlabelled example


class Config(TrainingConfig):
    """Parameters of distillation."""

    lr: float = tunable(3e-3, log_uniform(1e-4, 1e-2), "learning rate of all layers", gt=0)
    temperature: float = tunable(4.0, log_uniform(1.0, 20.0), "divides the logits of both networks", gt=0)
    hard_weight: float | None = tunable(
        None,
        uniform(0.0, 0.9),
        "kd: weight a of the labels, beside the teacher's 1 - a; null: 0.1 in kd, 1 in dkd",
        ge=0,
        le=1,
    )
    loss: Literal["kd", "dkd"] = Field("kd", description="KL, or its two parts weighted by alpha and beta")
    alpha: float = Field(1.0, ge=0, description="dkd: weight of the part of the target class")
    beta: float = Field(8.0, ge=0, description="dkd: weight of the part of the other classes")
    rise: float = Field(
        1 / 12, ge=0, le=1, description="dkd: share of the epochs over which the teacher's weight rises"
    )
    transfer: Literal["labelled", "all"] = Field(
        "labelled", description="examples with the teacher's predictions; all: also unlabelled ones"
    )


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse ``transfer: all`` where all examples have labels: the cell would repeat the one without it."""
    if cfg.transfer == "all" and info.shots == "full":
        return "every training example has its label, so transfer: all adds nothing to transfer: labelled"
    return None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the backbone and a head on the labels and on the teacher's predictions."""
    train = _with_unlabeled(task) if cfg.transfer == "all" else task.train
    model = Classifier(backbone, task.info.classes)
    groups = parameter_groups([(model.parameters(), cfg.lr)], cfg.weight_decay)
    loss = DistillationLoss(train, cfg, ctx)
    options = LoopOptions(loss=loss, begin_epoch=loss.begin_epoch)
    train_classifier(model, groups, train, task.val, cfg, ctx, options)
    return ModulePredictor(model, list(model.parameters()))


class DistillationLoss:
    """The loss of a student that learns from the labels of its training examples and from ``ctx.teacher``.

    Unlabelled examples have the label -1. They have no loss of the label, and the target class of ``dkd`` is the one
    that the teacher predicts.

    Args:
        train: The training examples.
        cfg: Temperature, weights and kind of the loss.
        ctx: Provides the teacher.
    """

    def __init__(self, train: Split, cfg: Config, ctx: Context) -> None:
        self._cfg = cfg
        self._teacher_logits = _teacher_logits(train, cfg, ctx)
        self._rising = round(cfg.rise * usual_epochs(cfg.epochs, len(train), cfg.batch_size))
        self._hard, self._soft = 1.0, 1.0
        if cfg.hard_weight is not None:
            self._hard = cfg.hard_weight
        elif cfg.loss == "kd":
            self._hard = _HARD_WEIGHT
        if cfg.loss == "kd":
            self._soft = 1 - self._hard

    def begin_epoch(self, epoch: int) -> None:
        """Let the teacher's weight in ``dkd`` rise over the first epochs, to 1."""
        if self._cfg.loss == "dkd":
            self._soft = min(1.0, (epoch + 1) / max(self._rising, 1))

    def __call__(self, student: Tensor, batch: Batch) -> Tensor:
        """Return the losses (b,) of the student's logits (b, classes); of mixed inputs, the mean over both labels."""
        teacher = self._teacher_logits(batch).to(student.dtype)
        losses = self._losses(student, teacher, batch.y)
        if batch.mixed is None:
            return losses
        return batch.mixed.mean(losses, self._losses(student, teacher, batch.mixed.y))

    def _losses(self, student: Tensor, teacher: Tensor, y: Tensor) -> Tensor:
        """Return the losses (b,) of logits (b, classes) beside labels (b,)."""
        cfg = self._cfg
        labelled = y != _UNKNOWN
        targets = torch.where(labelled, y, teacher.argmax(1))
        if cfg.loss == "kd":
            soft = softened_kl(teacher, student, cfg.temperature)
        else:
            soft = decoupled_kl(teacher, student, targets, cfg.temperature, cfg.alpha, cfg.beta)
        hard = smoothed_cross_entropy(student, targets, cfg.smoothing) * labelled
        return self._hard * hard + self._soft * soft


def _teacher_logits(train: Split, cfg: Config, ctx: Context) -> Callable[[Batch], Tensor]:
    """Return a function from a batch to the teacher's logits (b, classes).

    Where images stay as they are, the logits of all examples are computed once. The teacher is no submodule of the
    student, so that it stays in evaluation mode.
    """
    teacher = ctx.teacher
    assert teacher is not None, "a suite names a teacher wherever a method declares TEACHER"
    if not usual_augmentation(cfg, [train], ctx).changes_images:
        with ctx.autocast():
            logits = embed(teacher, train.x, None, ctx.device).to(ctx.device)
        return lambda batch: logits[batch.rows.to(logits.device)]

    def predict(batch: Batch) -> Tensor:
        with torch.no_grad(), ctx.autocast():
            predicted: Tensor = teacher(batch.x)
        return predicted

    return predict


def _with_unlabeled(task: Task) -> Split:
    """Return the labelled examples followed by the unlabelled ones, with label -1."""
    train, pool = task.train, task.unlabeled
    if pool is None:
        return train
    labels = np.concatenate([train.labels, np.full(len(pool), _UNKNOWN)])
    return Split(np.concatenate([train.x, pool.x]), labels, np.concatenate([train.rows, pool.rows]))
