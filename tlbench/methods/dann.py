"""DANN: learn features that separate the classes, but by which a discriminator cannot separate the domains.

Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", arXiv:1505.07818, sections 4.2 and 5.2.2. The
discriminator minimises the mean of both domains' cross-entropies; its gradients with respect to the features are
multiplied by -lambda, which rises from 0 over the steps, so that the discriminator's early noise has no effect. The
discriminator's own training does not depend on lambda. By default lambda ends at 0.3, below the paper's 1: training of
small networks is more stable with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, DomainOptions, supervised_loss, train_on_domains
from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.discriminator import Discriminator, domain_loss
from tlbench.training.adaptation.gradient_reversal import reverse_gradient
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of DANN."""

    weight: float = tunable(1.0, log_uniform(1e-2, 10), "weight of the domain loss", ge=0)
    strength: float = tunable(0.3, choice(0.1, 0.3, 1.0), "lambda at the end of the training", ge=0)
    width: int = tunable(256, choice(128, 256, 1024), "units of each hidden layer of the discriminator", ge=1)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the classifier against the discriminator."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)
    discriminator = Discriminator(model.out_dim, cfg.width, ctx.generator("discriminator"))

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        return {"loss": supervised_loss(step), "domain": cfg.weight * adversarial(step, discriminator, cfg.strength)}

    groups = model.groups(cfg, discriminator.parameters())
    train_on_domains(model, groups, task, cfg, ctx, loss, DomainOptions(auxiliary=discriminator))
    return ModulePredictor(model, list(model.parameters()))


def adversarial(step: AdaptationStep, discriminator: Discriminator, strength: float) -> Tensor:
    """Return the discriminator's loss; its gradient with respect to the features is reversed.

    Args:
        step: The features of both domains.
        discriminator: Predicts the domain.
        strength: Lambda at the end of the training.
    """
    z = torch.cat([step.source.z, step.target.z])
    reversed_ = reverse_gradient(z, z.new_full((), strength * alignment_ramp(step.progress)))
    return domain_loss(discriminator(reversed_), len(step.source.z))
