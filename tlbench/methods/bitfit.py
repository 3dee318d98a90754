"""BitFit: train the biases of a frozen backbone, or the scales and shifts of its normalisation, and the head.

Ben Zaken, Goldberg and Ravfogel 2021, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
Language-models", arXiv:2106.10199. The floor that any method of few parameters must beat. Training nothing but
normalisation is Frankle, Schwab and Morcos 2020, arXiv:2003.00152. Running statistics are not updated.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.core.errors import UserError
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.added_parameters import normalisation_parameters, train_added_parameters
from tlbench.training.predictor import Predictor

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)
QUICK = {"epochs": 30, "lr": 1e-2}


class Config(FineTuningConfig):
    """Parameters of BitFit."""

    lr: float | None = tunable(None, log_uniform(1e-4, 3e-2), "learning rate of the biases", gt=0)
    what: Literal["bias", "norm", "bias_norm"] = tunable(
        "bias", choice("bias", "norm", "bias_norm"), "biases, scales and shifts of normalisation, or both", lasting=True
    )
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics are updated")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the selected vectors and a head."""
    selected = select_parameters(backbone, cfg.what)
    if not selected:
        what = {"bias": "no bias", "norm": "no normalisation with scale or shift"}
        missing = what.get(cfg.what, "neither a bias nor a normalisation with scale or shift")
        raise UserError(f"bitfit: {backbone.info.label} has {missing}", "choose another `what`, or another method")
    return train_added_parameters(Classifier(backbone, task.info.classes), selected, "biases", task, cfg, ctx)


def select_parameters(backbone: Backbone, what: str) -> list[nn.Parameter]:
    """Return the parameters to train, in the order of ``backbone.parameters()``.

    Args:
        backbone: The backbone.
        what: ``bias``, ``norm`` or ``bias_norm``, as ``Config.what``.
    """
    wanted = {id(p) for p in normalisation_parameters(backbone)} if "norm" in what else set()
    if "bias" in what:  # also in_proj_bias, q_bias and bias_ih_l0; tables of relative positions have more dimensions
        named = backbone.named_parameters()
        wanted |= {id(p) for name, p in named if "bias" in name.rpartition(".")[2] and p.ndim == 1}
    return [parameter for parameter in backbone.parameters() if id(parameter) in wanted]
