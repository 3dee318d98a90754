"""Masked language modelling: mask some tokens of texts, and train the encoder to predict them from the others.

As a pre-training recipe: Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", arXiv:1810.04805, section 3.1. On a task: the same on all of its texts, without labels, from
the given weights, before training on the labels (Gururangan et al. 2020, "Don't Stop Pretraining", arXiv:2004.10964;
Howard and Ruder 2018, "Universal Language Model Fine-tuning", arXiv:1801.06146). Every epoch has new masks, and
the head is discarded.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import (
    Augment,
    BatchNorm,
    Mix,
    Schedule,
    SelfSupervisedConfig,
    choice,
    log_uniform,
    tunable,
    uniform,
)
from tlbench.data.dataset import Split, Task
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.parameter_groups import make_optimizer, parameter_groups, scale_rates
from tlbench.training.precision import at_least_float32
from tlbench.training.predictor import Predictor
from tlbench.training.recipe import usual_rate
from tlbench.training.schedules import rate_factor
from tlbench.training.selfsupervised.downstream import train_downstream
from tlbench.training.selfsupervised.language_head import LanguageModel
from tlbench.training.selfsupervised.masked_batches import MaskedBatches

PROTOCOLS = ("classification",)
MODALITIES = ("text",)
READS_LABELS = False  # of the corpus
QUICK = {"epochs": 3, "tune_epochs": 10}

_CLIP = 1.0  # largest norm of the gradient


class Config(SelfSupervisedConfig):
    """Parameters of masked language modelling."""

    epochs: int = Field(40, ge=1, description="epochs over the texts")
    batch_size: int = Field(32, ge=4, description="largest global batch")
    lr: float | None = tunable(None, log_uniform(1e-5, 2e-3), "learning rate of all layers", gt=0)
    weight_decay: float = tunable(1e-2, log_uniform(1e-3, 1e-1), "of matrices only", ge=0)
    schedule: Schedule = Field("linear", description="learning rate schedule")
    warmup: float = tunable(
        0.06, uniform(0.01, 0.1), "fraction of the steps over which the learning rate rises", ge=0, lt=1
    )
    mask_probability: float = tunable(
        0.15, choice(0.15, 0.3, 0.4), "probability that a token is selected for prediction", gt=0, lt=1
    )
    augment: Augment = Field("none", description="of images: no effect here")
    mix: Mix = Field("none", description="of images: no effect here")
    batch_norm: BatchNorm | None = Field(None, description="of image networks: no effect here")


def pretrain(corpus: Split, backbone: Backbone, cfg: Config, ctx: Context) -> None:
    """Train the backbone in place on the texts of a corpus."""
    _train(corpus.x, backbone, cfg, ctx, "train_loss")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train on all texts of the task, then on its labels."""
    splits = (task.train, task.val, task.unlabeled)
    texts = np.concatenate([split.x for split in splits if split is not None])
    _train(texts, backbone, cfg, ctx, "pretrain_loss")
    return train_downstream(task, backbone, cfg, ctx)


def _train(texts: NDArray[np.int32], backbone: Backbone, cfg: Config, ctx: Context, curve: str) -> None:
    """Train on token ids (n, L), and log the mean loss of the selected tokens, in nats."""
    model = LanguageModel(backbone, ctx.generator("pretrain", "head")).to(ctx.device)
    lr = usual_rate(cfg.lr, "language_model", backbone.info, ctx)
    groups = parameter_groups([(model.parameters(), lr)], cfg.weight_decay)
    optimizer = make_optimizer(cfg.optimizer, groups)
    batches = MaskedBatches(texts, backbone, cfg.batch_size, cfg.mask_probability, ctx, "pretrain")
    wrapped = ctx.wrap(model)
    for epoch in ctx.epochs(cfg.epochs, model, {"optimizer": optimizer}, name="pretrain"):
        model.train()
        ctx.log(epoch, **{curve: _train_epoch(wrapped, batches, optimizer, epoch, cfg, ctx)})
    losses = [loss for _, loss in ctx.curves.get(curve, [])]
    if losses and not any(losses):
        ctx.notes.append("no token was asked for in the texts, so nothing was learnt without labels")
    del wrapped
    ctx.release_wrapped()


def _train_epoch(
    model: nn.Module,
    batches: MaskedBatches,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    cfg: Config,
    ctx: Context,
) -> float:
    """Train one epoch, and return the mean loss of all selected tokens; zero where there are none."""
    loss_sum, selected = torch.zeros((), device=ctx.device), 0
    steps = cfg.epochs * batches.count
    for step, batch in enumerate(batches.epoch(epoch), start=epoch * batches.count):
        scale_rates(optimizer, rate_factor(cfg.schedule, step, steps, cfg.warmup))
        with ctx.autocast():
            logits = model(batch.ids, batch.rows, batch.columns)
        losses = cross_entropy(at_least_float32(logits), batch.tokens, reduction="none")
        optimizer.zero_grad(set_to_none=True)
        ctx.global_mean(losses, max(batch.selected, 1)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        loss_sum += losses.detach().sum()
        selected += batch.selected
    return all_reduce_sum(loss_sum, ctx.group).item() / max(selected, 1)
