"""Gives batch normalisation the moments of other data than it was trained on: those of a whole set at once.

Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation", arXiv:1603.04779, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_BATCH = 128


class _ReachedError(Exception):
    """A pass has come to the layer it was for."""


@torch.no_grad()
def set_batch_norm_statistics(model: nn.Module, x: NDArray[Any], device: torch.device) -> None:
    """Replace the running mean and variance of every batch normalisation layer, in place; nothing else changes.

    Layer by layer in the order in which they act, each takes the mean and the variance (over all, not over all but
    one) of what reaches it when those before it have theirs. So the network then answers in evaluation mode as it
    would in training mode if the whole set were one batch. The set passes through the network in pieces, once for
    each layer and only as far as that.

    Args:
        model: Maps raw inputs (B, ...) to anything; left in evaluation mode.
        x: The set (n, ...).
        device: Where the model is.
    """
    model.eval()

    def run(rows: slice) -> None:
        model(torch.from_numpy(x[rows]).to(device))

    for layer in _order(model, lambda: run(slice(1))):
        mean, variance = _moments(layer, run, len(x))
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)


def layers_with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """Return the layers that keep statistics of batches."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def _order(model: nn.Module, run: Callable[[], None]) -> list[_BatchNorm]:
    """Return the layers that keep statistics, in the order in which they are first called."""
    found: dict[_BatchNorm, None] = {}
    handles = [
        m.register_forward_pre_hook(lambda layer, args: found.setdefault(layer)) for m in layers_with_statistics(model)
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return list(found)


def _moments(layer: _BatchNorm, run: Callable[[slice], None], count: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C,) of a layer's inputs over the whole set, in double precision."""
    origin: Tensor | None = None
    sums, values = torch.zeros(()), 0

    def add(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal origin, sums, values
        x = args[0].transpose(0, 1).flatten(1)
        origin = x.mean(1) if origin is None else origin
        x = x - origin[:, None]  # so that sums do not cancel
        found = torch.stack([x.sum(1), x.square().sum(1)]).double()
        sums, values = sums.to(found) + found, values + x.shape[1]
        raise _ReachedError

    handle = layer.register_forward_pre_hook(add)
    try:
        for start in range(0, count, _BATCH):
            try:
                run(slice(start, start + _BATCH))
            except _ReachedError:
                continue
    finally:
        handle.remove()
    assert origin is not None
    mean, square = sums / values
    return origin + mean, square - mean.square()
