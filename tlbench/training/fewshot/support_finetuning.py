"""Solves an episode by training the network itself on the support, from the same start in every episode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.record import Footprint
from tlbench.data.dataset import Split
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.predictor import ModulePredictor

_BATCH = 256

FineTune = Callable[[Classifier, Split, Context], None]
"""Trains a classifier with a fresh head, in place, on the support of one episode."""


class SupportFineTuner:
    """Learns an episode by training the backbone and a new head on its support; queries are read in evaluation mode.

    Nothing is copied for an episode: the backbone is trained in place, and put back afterwards. The training of every
    episode draws the same numbers, so the answer depends on nothing but the episode.

    Args:
        backbone: Where every episode starts.
        tune: What trains; it is handed a context of its own, in which only this process trains and nothing is kept.
        ways: Classes of a test episode, for the footprint.
        ctx: Device, precision and randomness.
    """

    transductive = False

    def __init__(self, backbone: Backbone, tune: FineTune, ways: int, ctx: Context) -> None:
        self.module: nn.Module = backbone.to(ctx.device)
        self._backbone = backbone
        self._tune = tune
        self._ctx = ctx
        whole = Classifier(backbone, ways)
        self._footprint = ModulePredictor(whole, list(whole.parameters())).footprint()

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of raw queries (E, Q, ...)."""
        state = [*self.module.parameters(), *self.module.buffers()]
        start = [tensor.detach().clone() for tensor in state]
        answers = []
        for x, y, asked in zip(support, labels, query, strict=True):
            try:
                answers.append(self._solve(x, y, asked, ways))
            finally:
                with torch.no_grad():
                    for tensor, value in zip(state, start, strict=True):
                        tensor.copy_(value)
        return torch.stack(answers)

    def _solve(self, x: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        model = Classifier(self._backbone, ways)
        alone = Context(self._ctx.cell, self._ctx.device, precision=self._ctx.precision)
        self._tune(model, Split(x.cpu().numpy(), y.cpu().numpy(), np.arange(len(y))), alone)
        model.eval()
        with torch.no_grad():
            return torch.cat([model(piece) for piece in query.split(_BATCH)])

    def footprint(self) -> Footprint:
        """Return what it costs to keep."""
        return self._footprint
