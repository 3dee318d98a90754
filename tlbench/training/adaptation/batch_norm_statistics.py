"""Sets the statistics of batch normalisation layers to those of another set of inputs.

Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation", arXiv:1603.04779, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.training.forward_hooks import StopForward, call_order, hooks, run_until_stopped

_BATCH_SIZE = 128


@torch.no_grad()
def set_batch_norm_statistics(model: nn.Module, x: NDArray[Any], device: torch.device) -> None:
    """Replace the running mean and variance of every batch normalisation layer, in place; nothing else changes.

    Layer by layer, in the order in which they run, each is given the mean and the (biased) variance of its inputs over
    the whole set, the layers before it having theirs already. In evaluation mode the network then computes what it
    would compute in training mode if the whole set were one batch. For each layer the set passes through the network
    in batches, as far as that layer.

    Args:
        model: Maps raw inputs (B, ...) to anything; left in evaluation mode.
        x: The set of raw inputs (n, ...).
        device: The device of the model.
    """
    model.eval()

    def forward(rows: slice) -> None:
        model(torch.from_numpy(x[rows]).to(device))

    for layer in call_order(layers_with_statistics(model), lambda: forward(slice(1))):
        assert isinstance(layer, _BatchNorm)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        mean, variance = _input_moments(layer, forward, len(x))
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)


def layers_with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalisation layers that have running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def _input_moments(layer: _BatchNorm, forward: Callable[[slice], None], count: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C,) of a layer's inputs over all ``count`` examples, in float64."""
    origin: Tensor | None = None
    sums, values = torch.zeros(()), 0

    def accumulate(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal origin, sums, values
        x = args[0].transpose(0, 1).flatten(1)
        origin = x.mean(1) if origin is None else origin
        x = x - origin[:, None]  # avoids cancellation in the variance
        batch = torch.stack([x.sum(1), x.square().sum(1)]).double()
        sums, values = sums.to(batch) + batch, values + x.shape[1]
        raise StopForward

    with hooks([layer.register_forward_pre_hook(accumulate)]):
        for start in range(0, count, _BATCH_SIZE):
            run_until_stopped(partial(forward, slice(start, start + _BATCH_SIZE)))
    assert origin is not None
    mean, square = sums / values
    return origin + mean, square - mean.square()
