"""Deep CORAL: classify the source while aligning the covariances of both domains' features.

Sun and Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", arXiv:1607.01719, on the features
that the head reads; the weight of the loss is ramped up as in Ganin et al. 2016, arXiv:1505.07818.
"""

from __future__ import annotations

from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, supervised_loss, train_on_domains
from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.coral import covariance_distance
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of CORAL."""

    weight: float = tunable(10.0, log_uniform(0.1, 1e4), "weight of the distance of covariances", ge=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the classifier, and align the covariances."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        distance = covariance_distance(step.source.z, step.target.z)
        return {"loss": supervised_loss(step), "coral": cfg.weight * alignment_ramp(step.progress) * distance}

    train_on_domains(model, model.groups(cfg), task, cfg, ctx, loss)
    return ModulePredictor(model, list(model.parameters()))
