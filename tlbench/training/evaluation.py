"""Accuracy and log-likelihood on validation: what every method selects by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.training.batches import IndexedExamples
from tlbench.training.collectives import all_reduce_sum
from tlbench.training.context import Context

_BATCH = 256


class ValidationScores(NamedTuple):
    """Validation scores. Larger :attr:`order` is better: accuracy decides, then likelihood; ties go to the earlier."""

    accuracy: float
    nll: float

    @property
    def order(self) -> tuple[float, float]:
        """What to compare."""
        return self.accuracy, -self.nll


def score_logits(logits: Tensor, labels: Tensor) -> ValidationScores:
    """Return the scores of logits (..., classes) for labels (...)."""
    logits, labels = logits.flatten(0, -2), labels.flatten()
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return ValidationScores(accuracy, cross_entropy(logits.double(), labels).item())


@torch.no_grad()
def evaluate(model: nn.Module, examples: IndexedExamples, ctx: Context) -> ValidationScores:
    """Return the scores of a model on examples, in evaluation mode; the processes share the work.

    Texts are taken from short to long, which saves padding.

    Args:
        model: Maps inputs (B, ...) to logits (B, classes); the module itself, not its data-parallel form.
        examples: What to score on.
        ctx: Shards, and how many processes there are.
    """
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=ctx.device)
    own = ctx.shard(torch.arange(len(examples)))
    if examples.lengths is not None:
        own = own[examples.lengths[own].argsort(stable=True)]
    for rows in own.split(_BATCH):
        x, y = examples.take(rows)
        logits = model(x).double()
        sums += torch.stack([(logits.argmax(1) == y).sum(), cross_entropy(logits, y, reduction="sum")])
    accuracy, nll = (all_reduce_sum(sums, ctx) / len(examples)).tolist()
    return ValidationScores(accuracy, nll)
