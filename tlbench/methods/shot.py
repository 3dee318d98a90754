"""SHOT: train on the source; then, without it, adapt the features to the frozen head.

Liang, Hu and Feng 2020, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised
Domain Adaptation", arXiv:2002.08546, section 3: label smoothing on the source; on the target, information maximisation
under the source's head (SHOT-IM) and optionally cross-entropy with pseudo-labels by class centroids, recomputed at each
check. Each of the two trainings takes ``steps`` steps on one domain, which together cost as much as the same number of
steps on both. The source's model is no candidate.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Split, Task
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, DomainOptions, supervised_loss, train_on_domains
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.information_maximization import information_loss
from tlbench.training.adaptation.pseudo_labels import centroid_labels
from tlbench.training.context import Context
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
OPTIMISES = (
    "entropy",
    "information",
    "nuclear_norm",
    "source_and_information",
)  # its loss is minus the second, which the others are close to
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of SHOT."""

    smoothing: float = tunable(0.1, choice(0.0, 0.1), "label smoothing on the source", ge=0, lt=1)
    weight: float = tunable(1.0, log_uniform(1e-2, 10), "weight of the information loss", ge=0)
    pseudo_weight: float = tunable(0.0, choice(0.0, 0.1, 0.3), "weight of the cross-entropy with pseudo-labels", ge=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train on the source, then on the target."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)
    train_on_domains(
        model,
        model.groups(cfg),
        task,
        cfg,
        ctx,
        lambda step: {"source_loss": supervised_loss(step, cfg.smoothing)},
        DomainOptions(parts=("source", "shots"), adds_candidates=False, name="source"),
    )
    ctx.release_wrapped()
    adapt(model, task, cfg, ctx)
    return ModulePredictor(model, list(model.parameters()))


def adapt(model: BottleneckClassifier, task: Task, cfg: Config, ctx: Context) -> None:
    """Train all layers but the head on the target, in place."""
    model.head.requires_grad_(False)
    target = task.unlabeled
    assert target is not None
    assigned = torch.empty(0, dtype=torch.int64)

    def refresh() -> None:
        nonlocal assigned
        assigned = pseudo_labels(model, target, ctx)

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        terms = {"information": cfg.weight * information_loss(step.target.logits)}
        if len(step.shots.y):
            terms["loss"] = supervised_loss(step)
        if cfg.pseudo_weight:
            labels = assigned[step.target.rows.to(assigned.device)]
            terms["pseudo"] = cfg.pseudo_weight * cross_entropy(step.target.logits, labels)
        return terms

    options = DomainOptions(
        parts=("shots", "target"), first_step=cfg.steps, refresh=refresh if cfg.pseudo_weight else None
    )
    train_on_domains(model, model.groups(cfg), task, cfg, ctx, loss, options)


def pseudo_labels(model: BottleneckClassifier, target: Split, ctx: Context) -> Tensor:
    """Return pseudo-labels (n,) of a split by the model's class centroids, on the device."""
    model.eval()
    z = embed(model.encode, target.x, None, ctx.device).to(ctx.device)
    with torch.no_grad():
        p = model.head(z.to(model.head.weight.dtype)).softmax(1)
    return centroid_labels(z.to(p.dtype), p)
