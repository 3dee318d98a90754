"""MCC: classify the source while minimising the confusion of classes in the predictions on the target.

Jin, Wang, Long and Wang 2020, "Minimum Class Confusion for Versatile Domain Adaptation", arXiv:1912.03699, section 3.
No features are aligned and no discriminator is trained; the loss depends on the target's logits only. Its weight is
ramped up as in Ganin et al. 2016, arXiv:1505.07818, since early predictions are wrong.
"""

from __future__ import annotations

from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, supervised_loss, train_on_domains
from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.class_confusion import class_confusion
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
OPTIMISES = (
    "entropy",
    "information",
    "nuclear_norm",
    "source_and_information",
)  # little confusion of classes is certainty of each of them
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05, "weight": 3.0}


class Config(AdaptationConfig):
    """Parameters of MCC."""

    weight: float = tunable(1.0, log_uniform(1e-2, 10), "weight of the confusion", ge=0)
    temperature: float = tunable(2.5, log_uniform(1.0, 5.0), "divides the logits", gt=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the classifier, and minimise its confusion on the target."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        confusion = class_confusion(step.target.logits, cfg.temperature)
        return {"loss": supervised_loss(step), "confusion": cfg.weight * alignment_ramp(step.progress) * confusion}

    train_on_domains(model, model.groups(cfg), task, cfg, ctx, loss)
    return ModulePredictor(model, list(model.parameters()))
