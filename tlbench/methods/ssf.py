"""SSF, scaling and shifting: after every layer of a frozen backbone, train a factor and an offset a channel.

Lian et al. 2022, "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning", arXiv:2210.08823,
section 3: gamma * h + beta after each linear layer, convolution and normalisation. Here gamma starts at one and beta
at zero exactly, so that training starts from the backbone as given (the paper draws both near these). After training
they are merged, W' = diag(gamma) W and b' = gamma * b + beta: a prediction costs what it does without them.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import train_added_parameters
from tlbench.training.parameter_efficient.scaling import add_scales, merge_scales
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 1e-2}


class Config(FineTuningConfig):
    """Parameters of scaling and shifting."""

    lr: float = tunable(5e-3, log_uniform(3e-4, 3e-2), "rate of scales and shifts", gt=0)
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics move")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train scales, shifts and a head on the frozen backbone, and merge them."""
    example = torch.from_numpy(np.ascontiguousarray(task.train.x[:2]))
    added = add_scales(backbone, example, parallel=ctx.world > 1)
    predictor = train_added_parameters(Classifier(backbone, task.info.classes), added, cfg.lr, task, cfg, ctx)
    merge_scales(backbone)
    return predictor
