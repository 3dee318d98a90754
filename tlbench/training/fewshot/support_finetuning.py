"""Solving an episode by fine-tuning the network itself on the support, from the same weights in every episode."""

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

_BATCH_SIZE = 256

FineTune = Callable[[Classifier, Split, Context], None]
"""Trains a classifier with a new head, in place, on the support of one episode."""


class SupportFineTuner:
    """Solves an episode by training the backbone and a new head on its support; queries are read in evaluation mode.

    The backbone is not copied for an episode: it is trained in place, and its weights are restored afterwards. The
    training of every episode uses the same random numbers, so that the result depends on nothing but the episode.

    Args:
        backbone: The network, with the initial weights of every episode.
        fine_tune: Trains on a support. It is given a context of its own, without process group and checkpoints.
        ways: Number of classes of a test episode, for the footprint.
        ctx: Device, precision and randomness.
    """

    transductive = False

    def __init__(self, backbone: Backbone, fine_tune: FineTune, ways: int, ctx: Context) -> None:
        self.module: nn.Module = backbone.to(ctx.device)
        self._backbone = backbone
        self._fine_tune = fine_tune
        self._ctx = ctx
        whole = Classifier(backbone, ways)
        self._footprint = ModulePredictor(whole, list(whole.parameters())).footprint()

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of raw queries (E, Q, ...)."""
        state = [*self.module.parameters(), *self.module.buffers()]
        initial = [tensor.detach().clone() for tensor in state]
        logits = []
        for x, y, queries in zip(support, labels, query, strict=True):
            try:
                logits.append(self._solve(x, y, queries, ways))
            finally:
                with torch.no_grad():
                    for tensor, value in zip(state, initial, strict=True):
                        tensor.copy_(value)
        return torch.stack(logits)

    def _solve(self, x: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        model = Classifier(self._backbone, ways)
        known = self._ctx
        ctx = Context(
            known.random_root,
            known.device,
            precision=known.precision,
            characters=known.characters,
            crop_fraction=known.crop_fraction,
        )
        self._fine_tune(model, Split(x.cpu().numpy(), y.cpu().numpy(), np.arange(len(y))), ctx)
        model.eval()
        with torch.no_grad():
            return torch.cat([model(batch) for batch in query.split(_BATCH_SIZE)])

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        return self._footprint
