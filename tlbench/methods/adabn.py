"""AdaBN: train on the source, then set the statistics of batch normalisation to those of the target.

Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation", arXiv:1603.04779, section 3. Nothing
is trained on the target; means and variances are those of all its training images together, so that no prediction
depends on its batch. If only the bottleneck has batch normalisation, the network is adapted only there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig
from tlbench.data.dataset import Task
from tlbench.training.adaptation.adaptation_loop import DomainOptions, supervised_loss, train_on_domains
from tlbench.training.adaptation.batch_norm_statistics import layers_with_statistics, set_batch_norm_statistics
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor, Predictor

PROTOCOLS = ("adaptation",)
MODALITIES = ("image",)
QUICK = {"steps": 60, "checks": 4, "bottleneck": 32, "lr": 0.05}


class Config(AdaptationConfig):
    """Parameters of the training on the source; the adaptation has none."""


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train on the labelled examples; every candidate has the target's batch statistics."""
    model = BottleneckClassifier(backbone, task.info.classes, cfg.bottleneck)
    target = task.unlabeled
    assert target is not None
    if not layers_with_statistics(model):
        ctx.notes.append("nothing in this network normalises by batches, so nothing is adapted")

    def adapt(step: int, trained: Callable[[Tensor], Tensor]) -> None:
        set_batch_norm_statistics(model, target.x, ctx.device)  # in place: training uses batch statistics only
        ctx.add_candidate(step, trained)

    train_on_domains(
        model,
        model.groups(cfg),
        task,
        cfg,
        replace(ctx, on_candidate=adapt),
        lambda step: {"loss": supervised_loss(step)},
        DomainOptions(parts=("source", "shots")),
    )
    return ModulePredictor(model, list(model.parameters()))
