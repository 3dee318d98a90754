"""Bottleneck adapters: small two-layer networks inside a frozen backbone, trained together with the head.

Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", arXiv:1902.00751, section 2.1; ``pfeiffer`` is
one adapter per block (Pfeiffer et al. 2020, arXiv:2005.00247), ``parallel`` one beside the feed-forward sublayer (He et
al. 2021, arXiv:2110.04366: reduction 2, scale 4). Convolutional networks get a bottleneck of 1 x 1 convolutions
after each residual block. The last layer of each adapter is initialised to zero, so that training starts from exactly
the backbone's function. Adapters are not linear and cannot be merged into the backbone, so that predictions take
longer: with reduction 16, on one CPU thread, 1.04 times as long on ViT-B/16 and Swin-T (``houlsby``; 1.02 with the
others) and 1.05 times on ResNet-18, all at 224 pixels, and 1.29 times on ResNet-50 with its stem for 32 pixels.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import normalisation_parameters, train_added_parameters
from tlbench.training.parameter_efficient.bottleneck_adapters import AdapterDesign, add_adapters
from tlbench.training.parameter_efficient.example_forward import example_inputs
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 5e-3, "reduction": 4, "head_multiplier": 10.0}


class Config(FineTuningConfig):
    """Parameters of bottleneck adapters."""

    lr: float | None = tunable(None, log_uniform(1e-4, 1e-2), "learning rate of the adapters", gt=0)
    placement: Literal["houlsby", "pfeiffer", "parallel"] = tunable(
        "houlsby",
        choice("houlsby", "pfeiffer", "parallel"),
        "where in a transformer block; elsewhere behind the block",
        lasting=True,
    )
    reduction: int = tunable(
        16, choice(4, 16, 64), "number of channels over the width of the bottleneck", lasting=True, ge=1
    )
    scale: float = tunable(1.0, choice(1.0, 4.0), "factor of an adapter's output", lasting=True, gt=0)
    activation: Literal["gelu", "relu", "silu"] = Field("gelu", description="inside the bottleneck")
    norms: bool = tunable(
        False, choice(False, True), "train scales and shifts of normalisation, as the paper does", lasting=True
    )
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics are updated; without norms none is")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train adapters and a head with the backbone frozen."""
    norms = normalisation_parameters(backbone) if cfg.norms else []
    design = AdapterDesign(cfg.placement, cfg.reduction, cfg.scale, cfg.activation)
    adapted = add_adapters(backbone, example_inputs(task.train), design, ctx.generator("adapters"))
    if not backbone.sublayers:
        ctx.notes.append("no transformer blocks: one adapter behind each block, whatever the placement")
    added = [parameter for each in adapted.values() for parameter in each.adapter.parameters()]
    return train_added_parameters(Classifier(backbone, task.info.classes), [*added, *norms], "adapters", task, cfg, ctx)
