"""SimCLR: train the backbone to identify, among the views of many images, the other view of the same image.

As a pre-training recipe: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
arXiv:2002.05709, section 2. On a task: the same on all of its images, without labels, from the given weights, before
training on the labels (Chen et al. 2020, "Big Self-Supervised Models are Strong Semi-Supervised Learners",
arXiv:2006.10029). Both views pass through the network as one batch, and the projection head is discarded.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import (
    Augment,
    Mix,
    MixingConfig,
    SelfSupervisedConfig,
    Views,
    choice,
    log_uniform,
    tunable,
    uniform,
)
from tlbench.data.dataset import Split, Task
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context
from tlbench.training.parameter_groups import check_coverage, make_optimizer, parameter_groups, scale_rates
from tlbench.training.predictor import Predictor
from tlbench.training.schedules import warmup_cosine
from tlbench.training.selfsupervised.contrastive import alignment_and_uniformity, gather_views, nt_xent
from tlbench.training.selfsupervised.downstream import train_downstream
from tlbench.training.selfsupervised.projection_head import projection_head
from tlbench.training.selfsupervised.views import ViewBatch, ViewBatches

PROTOCOLS = ("classification",)
MODALITIES = ("image",)
READS_LABELS = False  # of the corpus
VERSION = 2  # views were mirrored of coloured images of characters
QUICK = {"epochs": 3, "tune_epochs": 10, "tune_lr": 1e-2}
_REFERENCE = 256  # global batch size for which the learning rates are given


class Config(MixingConfig):
    """Parameters of SimCLR; what begins with tune, augments or mixes is of the tuning that may follow on a task."""

    epochs: int = Field(20, ge=1, description="epochs over the images, without labels")
    batch_size: int = tunable(128, choice(128, 256, 512, 1024), "largest global batch, in images", ge=2)
    optimizer: Literal["adamw", "lars"] = Field("adamw", description="lars is for batches of thousands of images")
    lr: float = tunable(
        3e-3,
        log_uniform(1e-4, 5e-3),
        "adamw: learning rate for batches of 256, scaled by the square root of the batch size",
        when={"optimizer": ("adamw",)},
        gt=0,
    )
    lars_lr: float = tunable(
        0.3,
        log_uniform(0.05, 3),
        "lars: learning rate for batches of 256, scaled linearly with the batch size",
        when={"optimizer": ("lars",)},
        gt=0,
    )
    weight_decay: float = tunable(1e-4, log_uniform(1e-6, 1e-3), "of matrices and kernels only", ge=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps over which the learning rate rises")
    temperature: float = tunable(0.2, log_uniform(0.05, 1.0), "divides the similarities", gt=0)
    projection: int = tunable(128, choice(64, 128, 256), "width of the embedding in which views are compared", ge=1)
    layers: int = Field(2, ge=1, le=3, description="linear layers of the projection head")
    views: Views = Field("auto", description="distribution of views; auto: by the kind of images")
    strength: float = tunable(
        1.0, uniform(0.5, 2.0), "strength of the colour jitter, relative to that of the views", ge=0
    )
    then: Literal["finetune", "probe"] = Field("finetune", description="training on the labels of a task")
    tune_epochs: int | None = Field(None, ge=1, description="epochs of fine-tuning; null: as in finetune")
    tune_lr: float | None = tunable(
        None,
        log_uniform(1e-5, 1e-2),
        "learning rate of the backbone in fine-tuning",
        when={"then": ("finetune",)},
        gt=0,
    )
    augment: Augment = tunable(
        "auto",
        choice("auto", "none", "affine", "randaugment"),
        "how images change in fine-tuning; auto: by their kind, so that characters are never mirrored",
        when={"then": ("finetune",)},
    )
    mix: Mix = tunable(
        "none",
        choice("none", "mixup", "cutmix"),
        "how two images and their labels are mixed in fine-tuning",
        when={"then": ("finetune",)},
    )


def pretrain(corpus: Split, backbone: Backbone, cfg: Config, ctx: Context) -> None:
    """Train the backbone in place on the images of a corpus."""
    _train(corpus.x, backbone, cfg, ctx, "train_loss")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Train on all images of the task, then on its labels."""
    splits = (task.train, task.val, task.unlabeled)
    _train(np.concatenate([split.x for split in splits if split is not None]), backbone, cfg, ctx, "pretrain_loss")
    same = {"then", "tune_epochs", "tune_lr", *MixingConfig.model_fields}
    tuning = SelfSupervisedConfig(**cfg.model_dump(include=same))
    return train_downstream(task, backbone, tuning, ctx)


def _train(x: Any, backbone: Backbone, cfg: Config, ctx: Context, curve: str) -> None:
    """Train on images (n, C, H, W), and log the mean loss and measures of the last batch's embeddings."""
    head = projection_head(backbone.out_dim, cfg.projection, cfg.layers, ctx.generator("pretrain", "head"))
    model = nn.Sequential(backbone, head).to(ctx.device)
    images = Examples(Split(x, np.zeros(len(x), np.int64), np.arange(len(x))), ctx.device)
    batches = ViewBatches(images, cfg.batch_size, cfg.views, cfg.strength, ctx, "pretrain")
    optimizer = simclr_optimizer(model, cfg, len(x) / batches.count)
    wrapped = ctx.wrap(model)
    steps = cfg.epochs * batches.count
    for epoch in ctx.epochs(cfg.epochs, model, {"optimizer": optimizer}, name="pretrain"):
        train_mode(model, "train")
        loss_sum = torch.zeros((), device=ctx.device)
        for step, batch in enumerate(batches.epoch(epoch), start=epoch * batches.count):
            scale_rates(optimizer, warmup_cosine(step, steps, cfg.warmup))
            z, losses = train_step(wrapped, batch, optimizer, cfg, ctx)
            loss_sum += losses.sum()
        mean = all_reduce_sum(loss_sum, ctx.group).item() / (2 * len(x))
        ctx.log(epoch, **{curve: mean}, **alignment_and_uniformity(z))
    del wrapped
    ctx.release_wrapped()


def simclr_optimizer(model: nn.Module, cfg: Config, images: float) -> torch.optim.Optimizer:
    """Return the optimiser for batches with a mean number of images."""
    scale = images / _REFERENCE
    lr = cfg.lars_lr * scale if cfg.optimizer == "lars" else cfg.lr * math.sqrt(scale)
    groups = parameter_groups([(model.parameters(), lr)], cfg.weight_decay)
    check_coverage(model, groups)
    return make_optimizer(cfg.optimizer, groups)


def train_step(
    model: nn.Module, batch: ViewBatch, optimizer: torch.optim.Optimizer, cfg: Config, ctx: Context
) -> tuple[Tensor, Tensor]:
    """Train on one batch; return the embeddings of all processes (2N, D) and the losses of this process's views (2b,).

    Each process computes the losses of its own views against those of all processes.
    """
    with ctx.autocast():
        own = model(batch.x)
    z = gather_views(own, batch.size, ctx.group)
    losses = nt_xent(z, cfg.temperature, _positions(batch.size, ctx))
    optimizer.zero_grad(set_to_none=True)
    ctx.global_mean(losses, 2 * batch.size).backward()
    optimizer.step()
    return z.detach(), losses.detach()


def _positions(count: int, ctx: Context) -> Tensor | None:
    """Return the positions of this process's views among all 2 * count; None if it has all of them."""
    if not ctx.group.is_distributed:
        return None
    own = ctx.shard(torch.arange(count, device=ctx.device))
    return torch.cat([own, own + count])
