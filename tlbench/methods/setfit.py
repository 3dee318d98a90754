"""SetFit: tune the encoder on pairs of labelled examples, then fit the linear probe on its features.

Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts", arXiv:2209.11055, sections 3 and 4, with the
settings of its reference implementation: the cosine similarity of two examples of a class is to be 1 and that of two
classes 0, in squared error; every labelled example has 20 pairs of either kind, in batches of 16, and the rate rises
over a tenth of the steps and then falls linearly. Made for sentence encoders; image networks are tuned alike.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm, MethodConfig, choice, log_uniform, tunable
from tlbench.data.dataset import Split, Task
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.context import Context
from tlbench.training.labelled_pairs import PairBatch, PairBatches, Pairs, cosine_losses, embed_rows, plan_rounds
from tlbench.training.parameter_groups import check_coverage, make_optimizer, parameter_groups, scale_rates
from tlbench.training.predictor import Predictor
from tlbench.training.recipe import usual_batch_norm, usual_rate
from tlbench.training.schedules import warmup_linear
from tlbench.training.selfsupervised.downstream import fit_downstream_probe

PROTOCOLS = ("classification",)
QUICK = {"iterations": 4, "lr": 3e-3}


class Config(MethodConfig):
    """Parameters of SetFit."""

    iterations: int = tunable(20, choice(5, 10, 20, 40), "pairs of either kind that each labelled example has", ge=1)
    most_steps: int = Field(1000, ge=1, description="steps at most; where iterations take more, there are fewer")
    batch_size: int = Field(16, ge=2, description="largest global batch, in pairs")
    lr: float | None = tunable(None, log_uniform(1e-6, 1e-2), "learning rate of all layers", gt=0)
    weight_decay: float = tunable(1e-2, log_uniform(1e-6, 1e-1), "of matrices and kernels only", ge=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient of a step; null: any")
    batch_norm: BatchNorm | None = tunable(
        None, choice("train", "frozen"), "whether running statistics move or stay; null: they stay if published"
    )
    C: float | None = Field(None, gt=0, description="inverse regularisation of the head; null chooses it")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Tune the backbone on pairs of the training examples, and fit the probe on its features."""
    alone = int((np.bincount(task.train.labels) == 1).sum())
    if alone:
        ctx.notes.append(f"classes with one labelled example, which is paired with itself: {alone}")
    _tune(task.train, backbone, cfg, ctx)
    return fit_downstream_probe(task, backbone, ctx, cfg.C, labels_seen=True)


def _tune(train: Split, backbone: Backbone, cfg: Config, ctx: Context) -> None:
    """Train the backbone in place on pairs, and log the mean loss of each round."""
    backbone.to(ctx.device)
    lr = usual_rate(cfg.lr, "embedding", backbone.info, ctx)
    batch_norm = usual_batch_norm(cfg.batch_norm, backbone.info, ctx)
    groups = parameter_groups([(backbone.parameters(), lr)], cfg.weight_decay)
    check_coverage(backbone, groups)
    optimizer = make_optimizer("adamw", groups)
    examples = Examples(train, ctx.device)
    plan = plan_rounds(len(train), cfg.iterations, cfg.batch_size, cfg.most_steps)
    batches = PairBatches(torch.from_numpy(train.labels), plan, ctx, "pairs")
    wrapped = ctx.wrap(backbone)
    steps = plan.rounds * plan.batches
    for number in ctx.epochs(plan.rounds, backbone, {"optimizer": optimizer}, name="pairs"):
        train_mode(backbone, batch_norm)
        loss_sum = torch.zeros((), device=ctx.device)
        for step, batch in enumerate(batches.epoch(number), start=number * plan.batches):
            scale_rates(optimizer, warmup_linear(step, steps, cfg.warmup))
            loss_sum += _train_step(wrapped, examples, batch, optimizer, cfg, ctx) / plan.batches
        ctx.log(number, pair_loss=loss_sum.item())
    del wrapped
    ctx.release_wrapped()


def _train_step(
    model: nn.Module, examples: Examples, batch: PairBatch, optimizer: torch.optim.Optimizer, cfg: Config, ctx: Context
) -> Tensor:
    """Train on one batch, and return the mean loss of its pairs.

    Every process computes the losses of all pairs, from the embeddings of all processes.
    """
    z = embed_rows(model, examples, batch.rows, ctx)
    loss = cosine_losses(z, Pairs(*(part.to(ctx.device) for part in batch.pairs))).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if cfg.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), cfg.clip_norm)
    optimizer.step()
    return loss.detach()
