"""Target oracle: train on all labels of the target, which no other method is given; an upper bound, never ranked.

The upper bound of every comparison of adaptation methods ("train on target" in Ganin et al. 2016, "Domain-Adversarial
Training of Neural Networks", arXiv:1505.07818, section 5.2): the same network, steps and schedule as the methods that
adapt, without the source.
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
ORACLE = True
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of training on the target."""


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train on the target's labels."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)
    groups = model.groups(cfg)
    options = DomainOptions(parts=("shots",))
    train_on_domains(model, groups, task, cfg, ctx, lambda step: {"loss": supervised_loss(step)}, options)
    return ModulePredictor(model, list(model.parameters()))
