"""MMD: classify the source while minimising the maximum mean discrepancy of both domains' features.

Long et al. 2015, "Learning Transferable Features with Deep Adaptation Networks", arXiv:1502.02791, section 3, with the
unbiased estimate over all pairs of a batch (Gretton et al. 2012, JMLR 13, Lemma 6), which may be negative. Kernels of
different widths are added, each with weight one, as in the authors' code. ``joint`` compares features and class
probabilities together, by the product of the features' kernels and one of the probabilities (Long et al. 2017,
arXiv:1605.06636). The weight of the loss is ramped up as in Ganin et al. 2016, arXiv:1505.07818.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, supervised_loss, train_on_domains
from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.mmd import gaussian_kernels, probability_kernel, squared_distances, squared_mmd
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
VERSION = 2  # kernels are added, not averaged
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of MMD."""

    weight: float = tunable(1.0, log_uniform(1e-2, 10), "weight of the discrepancy", ge=0)
    kernels: Literal[1, 3, 5] = tunable(5, choice(1, 3, 5), "Gaussian kernels of different widths, added")
    layer: Literal["bottleneck", "logits", "joint"] = tunable(
        "bottleneck",
        choice("bottleneck", "logits", "joint"),
        "what is aligned; joint: features and class probabilities",
    )
    estimate: Literal["unbiased", "biased"] = Field(
        "unbiased", description="biased: includes pairs of an example with itself"
    )


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the classifier, and align the domains."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        return {
            "loss": supervised_loss(step),
            "mmd": cfg.weight * alignment_ramp(step.progress) * domain_discrepancy(step, cfg),
        }

    train_on_domains(model, model.groups(cfg), task, cfg, ctx, loss)
    return ModulePredictor(model, list(model.parameters()))


def domain_discrepancy(step: AdaptationStep, cfg: Config) -> Tensor:
    """Return the squared discrepancy of source and target in a step.

    Args:
        step: Features and logits of both domains.
        cfg: Kernels, layer and estimate.
    """
    pair = (step.source, step.target)
    z, logits = torch.cat([part.z for part in pair]), torch.cat([part.logits for part in pair])
    kernel = gaussian_kernels(squared_distances(logits if cfg.layer == "logits" else z), cfg.kernels)
    if cfg.layer == "joint":
        kernel = kernel * probability_kernel(squared_distances(logits.softmax(1)))
    return squared_mmd(kernel, len(step.source.z), cfg.estimate == "unbiased")
