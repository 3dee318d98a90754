"""Fine-tuning: train backbone and a new linear head together, the backbone at a lower rate than the head.

Kornblith, Shlens and Le 2019, "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3, with the
usual remedies for small data: a head that starts at zero, warm-up and cosine by step, no decay of biases and of
normalisation, and the weights of the epoch that was best on validation.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.groups import parameter_groups
from tlbench.training.loop import train_classifier
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("classification",)


class Config(MethodConfig):
    """Parameters of fine-tuning."""

    epochs: int = Field(40, ge=1, description="passes over the training examples")
    batch_size: int = Field(32, ge=4, description="largest global batch")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd has momentum 0.9 and wants a larger lr")
    lr: float = tunable(1e-3, log_uniform(1e-5, 1e-2), "rate of the backbone", gt=0)
    head_multiplier: float = tunable(3.0, choice(1.0, 3.0, 10.0), "rate of the head over that of the backbone", gt=0)
    weight_decay: float = tunable(1e-2, log_uniform(1e-6, 1e-1), "of matrices and kernels only", ge=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    smoothing: float = tunable(0.0, choice(0.0, 0.1), "label smoothing", ge=0, lt=1)
    batch_norm: Literal["train", "frozen"] = tunable(
        "train", choice("train", "frozen"), "whether running statistics move or stay"
    )
    augment: Literal["none", "shift", "shift_flip"] = tunable(
        "none", choice("none", "shift"), "how training images are moved; shift_flip is wrong for characters"
    )
    patience: int | None = Field(None, ge=1, description="epochs without improvement before stopping early")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network on the labelled examples."""
    model = Classifier(backbone, task.info.classes)
    groups = parameter_groups(model, cfg.lr, cfg.head_multiplier, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, batch_norm=cfg.batch_norm, patience=cfg.patience)
    return ModulePredictor(model, list(model.parameters()))
