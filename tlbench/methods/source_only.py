"""Source only: train on the labelled source, and on any labels of the target, without adaptation.

The lower bound of every comparison of adaptation methods (Ganin et al. 2016, "Domain-Adversarial Training of Neural
Networks", arXiv:1505.07818, section 5.2): the same network, steps and schedule as the methods that adapt, without any
use of the unlabelled target, also in batch normalisation.
"""

from __future__ import annotations

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import DomainOptions, supervised_loss, train_on_domains
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of training on the source."""


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train on the labelled examples of both domains."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)
    groups = model.groups(cfg)
    options = DomainOptions(parts=("source", "shots"))
    train_on_domains(model, groups, task, cfg, ctx, lambda step: {"loss": supervised_loss(step)}, options)
    return ModulePredictor(model, list(model.parameters()))
