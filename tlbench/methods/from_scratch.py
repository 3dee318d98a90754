"""Training from scratch: the same network and loop as fine-tuning, on fresh random weights.

The lower bracket of every claim about transfer: what the labels alone can do (He, Girshick and Dollar 2019,
"Rethinking ImageNet Pre-training", arXiv:1811.08883). It takes a backbone with random weights, which are the
architecture's own initialisation, drawn from the cell's seed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, choice, log_uniform, tunable
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.groups import parameter_groups
from tlbench.training.loop import train_classifier
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("classification",)


class Config(MethodConfig):
    """Parameters of training from scratch."""

    epochs: int = Field(40, ge=1, description="passes over the training examples")
    batch_size: int = Field(32, ge=4, description="largest global batch")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd has momentum 0.9 and wants a larger lr")
    lr: float = tunable(3e-3, log_uniform(1e-4, 1e-2), "rate of all layers", gt=0)
    weight_decay: float = tunable(1e-2, log_uniform(1e-6, 1e-1), "of matrices and kernels only", ge=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    smoothing: float = tunable(0.0, choice(0.0, 0.1), "label smoothing", ge=0, lt=1)
    augment: Literal["none", "shift", "shift_flip"] = tunable(
        "none", choice("none", "shift"), "how training images are moved; shift_flip is wrong for characters"
    )
    patience: int | None = Field(None, ge=1, description="epochs without improvement before stopping early")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse weights that would be thrown away: the cell would repeat the one on random weights."""
    return None if backbone.weights == "random" else "list the architecture with random weights: others are not used"


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the randomly initialised backbone and a head."""
    model = Classifier(backbone, task.info.classes)
    groups = parameter_groups(model, cfg.lr, 1.0, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, patience=cfg.patience)
    return ModulePredictor(model, list(model.parameters()))
