"""LP-FT: fit a linear probe first, then fine-tune the whole network from it.

Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
arXiv:2202.10054: with a fitted head the features are distorted less. The probe is solved to convergence and
copied into the head, so that before the first step the network's predictions are the probe's; the probe itself takes
part in selection on validation. Batch normalisation stays in evaluation mode.
"""

from __future__ import annotations

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, FineTuningConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.linear_probe import initialise_head
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.predictor import ModulePredictor, Predictor
from tlbench.training.recipe import fine_tuning_recipe
from tlbench.training.supervised_loop import LoopOptions, train_classifier

PROTOCOLS = ("classification",)
SEGMENTABLE = ("classification",)


class Config(FineTuningConfig):
    """Parameters of LP-FT."""

    lr: float | None = tunable(None, log_uniform(1e-5, 1e-2), "learning rate of the backbone", gt=0)
    head_multiplier: float = tunable(
        1.0, choice(1.0, 3.0, 10.0), "ratio of the learning rates of head and backbone", gt=0
    )
    batch_norm: BatchNorm = Field("frozen", description="whether running statistics are updated")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Fit the probe, copy it into the head, and train the whole network."""
    model = Classifier(backbone, task.info.classes).to(ctx.device)
    ctx.selected["C"] = initialise_head(model, task, ctx, balanced=cfg.balance == "weights").C
    recipe = fine_tuning_recipe(cfg, "network", backbone, ctx)
    parts = [(backbone.parameters(), recipe.lr), (model.head.parameters(), recipe.head_lr)]
    groups = parameter_groups(parts, cfg.weight_decay)
    options = LoopOptions(batch_norm=recipe.batch_norm, score_initial=True)
    train_classifier(model, groups, task.train, task.val, cfg, ctx, options)
    if ctx.selected.get("epoch") == -1:
        ctx.notes.append("no epoch of fine-tuning was better on validation than the probe, whose weights these are")
        head = list(model.head.parameters())
        return ModulePredictor(model, head, head)
    return ModulePredictor(model, list(model.parameters()))
