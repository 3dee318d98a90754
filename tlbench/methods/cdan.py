"""CDAN: as DANN, but the discriminator is conditioned on the classifier's predictions.

Long, Cao, Wang and Jordan 2018, "Conditional Adversarial Domain Adaptation", arXiv:1705.10667, section 3. Its input
is the outer product of features and class probabilities, so that it compares the domains class by class; no gradient
flows through the probabilities. With ``entropy``, examples with certain predictions have larger weights (CDAN+E).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, DomainOptions, supervised_loss, train_on_domains
from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.discriminator import Discriminator, domain_loss
from tlbench.training.adaptation.gradient_reversal import reverse_gradient
from tlbench.training.adaptation.information_maximization import certainty_weights
from tlbench.training.adaptation.multilinear_conditioning import MultilinearConditioning
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of CDAN."""

    weight: float = tunable(1.0, log_uniform(1e-2, 10), "weight of the domain loss", ge=0)
    strength: float = tunable(1.0, choice(0.1, 0.3, 1.0), "lambda at the end of the training", ge=0)
    width: int = tunable(256, choice(128, 256, 1024), "units of each hidden layer of the discriminator", ge=1)
    entropy: bool = tunable(False, choice(False, True), "whether certain predictions have larger weights (CDAN+E)")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train the classifier against a discriminator of features and predictions."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)
    conditioning = MultilinearConditioning(model.out_dim, task.info.classes, ctx.generator("conditioning"))
    discriminator = Discriminator(conditioning.out_dim, cfg.width, ctx.generator("discriminator"))

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        return {
            "loss": supervised_loss(step),
            "domain": cfg.weight * adversarial(step, conditioning, discriminator, cfg),
        }

    train_on_domains(
        model,
        model.groups(cfg, discriminator.parameters()),
        task,
        cfg,
        ctx,
        loss,
        DomainOptions(auxiliary=nn.ModuleList([conditioning, discriminator])),
    )
    return ModulePredictor(model, list(model.parameters()))


def adversarial(
    step: AdaptationStep, conditioning: MultilinearConditioning, discriminator: Discriminator, cfg: Config
) -> Tensor:
    """Return the discriminator's loss; its gradient with respect to the features is reversed.

    Args:
        step: Features and logits of both domains.
        conditioning: Combines features and probabilities.
        discriminator: Predicts the domain.
        cfg: Lambda at the end of the training, and the weighting of examples.
    """
    z = torch.cat([step.source.z, step.target.z])
    p = torch.cat([step.source.logits, step.target.logits]).detach().softmax(1)
    reversed_ = reverse_gradient(z, z.new_full((), cfg.strength * alignment_ramp(step.progress)))
    weights = certainty_weights(p) if cfg.entropy else None
    return domain_loss(discriminator(conditioning(reversed_, p)), len(step.source.z), weights)
