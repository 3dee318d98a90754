"""Bottleneck adapters: small two-layer networks inside a frozen backbone, trained together with the head.

Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", arXiv:1902.00751, section 2.1; ``pfeiffer`` is
one adapter a block (Pfeiffer et al. 2020, arXiv:2005.00247), ``parallel`` one beside the feed-forward sublayer (He et
al. 2021, arXiv:2110.04366: reduction 2, scale 4). Convolutional networks get a bottleneck of 1 x 1 convolutions
behind each residual block. The last layer of each adapter starts at zero, so that training starts from the backbone
exactly. Adapters are not linear and cannot be merged into the backbone: every prediction pays for them. With reduction
16, on one CPU thread, predictions took 1.04 times as long on ViT-B/16 and Swin-T (``houlsby``; 1.02 with the others)
and 1.05 times on ResNet-18, all at 224 pixels, and 1.29 times on ResNet-50 with its stem for 32 pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import normalisation_parameters, train_added_parameters
from tlbench.training.parameter_efficient.bottleneck_adapters import AdapterDesign, add_adapters
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 5e-3, "reduction": 4, "head_multiplier": 10.0}


class Config(FineTuningConfig):
    """Parameters of bottleneck adapters."""

    lr: float = tunable(1e-3, log_uniform(1e-4, 5e-3), "rate of the adapters", gt=0)
    placement: Literal["houlsby", "pfeiffer", "parallel"] = tunable(
        "houlsby",
        choice("houlsby", "pfeiffer", "parallel"),
        "where in a transformer block; elsewhere behind the block",
        lasting=True,
    )
    reduction: int = tunable(16, choice(4, 16, 64), "channels over the width of the bottleneck", lasting=True, ge=1)
    scale: float = tunable(1.0, choice(1.0, 4.0), "factor of what an adapter adds", lasting=True, gt=0)
    activation: Literal["gelu", "relu", "silu"] = Field("gelu", description="inside the bottleneck")
    norms: bool = tunable(
        False, choice(False, True), "train scales and shifts of normalisation, as the paper does", lasting=True
    )
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics move; without norms none does")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train adapters and a head on the frozen backbone."""
    norms = normalisation_parameters(backbone) if cfg.norms else []
    design = AdapterDesign(cfg.placement, cfg.reduction, cfg.scale, cfg.activation)
    example = torch.from_numpy(np.ascontiguousarray(task.train.x[:2]))
    adapted = add_adapters(backbone, example, design, ctx.generator("adapters"))
    if not backbone.sublayers:
        ctx.notes.append("no transformer blocks: one adapter behind each block, whatever the placement")
    added = [parameter for each in adapted.values() for parameter in each.adapter.parameters()]
    return train_added_parameters(Classifier(backbone, task.info.classes), [*added, *norms], cfg.lr, task, cfg, ctx)
