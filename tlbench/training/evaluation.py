"""Evaluates a model on labelled examples, batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.training.batches import IndexedExamples
from tlbench.training.collectives import all_reduce_sum, gather_rows
from tlbench.training.context import Context
from tlbench.training.validation_scores import ValidationScores

_BATCH_SIZE = 256


@torch.no_grad()
def evaluate(model: nn.Module, examples: IndexedExamples, ctx: Context) -> ValidationScores:
    """Return the scores of a model on examples; each process of a group evaluates its shard.

    Texts are taken in the order of their length, which reduces padding.

    Args:
        model: Maps inputs (B, ...) to logits (B, classes); the module itself, not its data-parallel form. It is left in
            evaluation mode.
        examples: The labelled examples.
        ctx: Device and processes.
    """
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=ctx.device)
    own = ctx.shard(torch.arange(len(examples)))
    if examples.lengths is not None:
        own = own[examples.lengths[own].argsort(stable=True)]
    answers: list[Tensor] = []
    for rows in own.split(_BATCH_SIZE):
        x, y = examples.take(rows)
        logits = model(x).double()
        sums += torch.stack([(logits.argmax(1) == y).sum(), cross_entropy(logits, y, reduction="sum")])
        if ctx.metric is not None:
            answers.append(torch.cat([logits, y[:, None]], 1))
    accuracy, nll = (all_reduce_sum(sums, ctx.group) / len(examples)).tolist()
    if ctx.metric is None:
        return ValidationScores(accuracy, nll)
    shard = torch.cat(answers)[own.argsort()]  # in the order of rows, so that no metric depends on that of the texts
    gathered = gather_rows(shard, len(examples), ctx.group).cpu()
    chosen = ctx.metric.value(gathered[:, :-1], gathered[:, -1].long())
    return ValidationScores(accuracy, nll, ctx.metric.declared.sign * chosen)
