"""Linear head: a linear classifier on the frozen backbone, trained by gradient descent as the fine-tuning family is.

The control of that family: it has their head, optimiser, schedule and number of steps, and trains nothing else. What
they gain over it they gain by changing the network; what it lacks against ``linear_probe``, the same classifier solved
to convergence with its own regularisation, they lack as an optimisation too (Kornblith, Shlens and Le 2019,
arXiv:1805.08974, section 3, solve theirs). The backbone stays in evaluation mode and is run once.
"""

from __future__ import annotations

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import train_added_parameters
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 60, "lr": 0.1}


class Config(FineTuningConfig):
    """Parameters of the linear head."""

    lr: float | None = tunable(None, log_uniform(1e-4, 1e-1), "learning rate", gt=0)
    head_multiplier: float = Field(1.0, ge=1, le=1, description="none: there is nothing but the head")
    batch_norm: BatchNorm | None = Field("frozen", description="running statistics stay, as nothing else is trained")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the head."""
    return train_added_parameters(Classifier(backbone, task.info.classes), [], "head", task, cfg, ctx)
