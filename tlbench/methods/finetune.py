"""Fine-tuning: train backbone and a new linear head together, the backbone at a lower rate than the head.

Kornblith, Shlens and Le 2019, "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3, with the
usual remedies for small data: a head that starts at zero, warm-up and cosine by step, no decay of biases and of
normalisation, and the weights of the epoch that was best on validation.
"""

from __future__ import annotations

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import FineTuningConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.groups import parameter_groups
from tlbench.training.loop import train_classifier
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("classification",)


class Config(FineTuningConfig):
    """Parameters of fine-tuning."""

    lr: float = tunable(1e-3, log_uniform(1e-5, 1e-2), "rate of the backbone", gt=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the whole network on the labelled examples."""
    model = Classifier(backbone, task.info.classes)
    parts = [(backbone.parameters(), cfg.lr), (model.head.parameters(), cfg.lr * cfg.head_multiplier)]
    groups = parameter_groups(parts, cfg.weight_decay)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, batch_norm=cfg.batch_norm)
    return ModulePredictor(model, list(model.parameters()))
