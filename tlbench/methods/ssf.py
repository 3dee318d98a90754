"""SSF, scaling and shifting: train a scale and a shift per channel after every layer of a frozen backbone.

Lian et al. 2022, "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning", arXiv:2210.08823,
section 3: gamma * h + beta after each linear layer, convolution and normalisation. Here gamma is initialised
to one and beta to zero, so that training starts from exactly the backbone's function (in the paper both are random,
with these means). After training they are merged, W' = diag(gamma) W and b' = gamma * b + beta: a prediction costs as
much as without them.
"""

from __future__ import annotations

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import train_added_parameters
from tlbench.training.parameter_efficient.example_forward import example_inputs
from tlbench.training.parameter_efficient.scaling import add_scales, merge_scales
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 1e-2}


class Config(FineTuningConfig):
    """Parameters of scaling and shifting."""

    lr: float | None = tunable(None, log_uniform(3e-4, 3e-2), "learning rate of scales and shifts", gt=0)
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics are updated")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train scales, shifts and a head with the backbone frozen, and merge scales and shifts."""
    added = add_scales(backbone, example_inputs(task.train), distributed=ctx.group.is_distributed)
    predictor = train_added_parameters(Classifier(backbone, task.info.classes), added, "scales", task, cfg, ctx)
    merge_scales(backbone)
    return predictor
