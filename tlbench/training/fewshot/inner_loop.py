"""The inner loop of meta-learning: a few steps of gradient descent that can themselves be differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

NamedTensors = Mapping[str, Tensor]
Objective = Callable[[NamedTensors], Tensor]
Order = Literal[1, 2]
Gradient = Callable[[Objective, NamedTensors, Order], NamedTensors]


def autograd_gradient(objective: Objective, values: NamedTensors, order: Order) -> NamedTensors:
    """Return the gradient of an objective (a scalar) at values that require gradients.

    Under order 2 the result can be differentiated; under order 1 it is a constant.
    """
    names, tensors = list(values), list(values.values())
    gradients = torch.autograd.grad(
        objective(values), tensors, create_graph=order == 2, allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, gradients, strict=True))


def func_gradient(objective: Objective, values: NamedTensors, order: Order) -> NamedTensors:
    """Return the same as :func:`autograd_gradient`; it also works under ``torch.func.vmap``, and is a little slower."""
    at = values if order == 2 else {name: value.detach() for name, value in values.items()}
    gradients: NamedTensors = torch.func.grad(objective)(at)
    return gradients


def gradient_descent(
    objective: Objective, start: NamedTensors, rates: Tensor, order: Order, gradient: Gradient = autograd_gradient
) -> Iterator[NamedTensors]:
    """Yield the start, unchanged, and the values after each step of gradient descent.

    phi_0 = start, phi_(j+1) = phi_j - rate_j * gradient(phi_j). Differentiating phi_K gives MAML's gradient under
    order 2, and its first-order approximation under order 1 (Finn, Abbeel and Levine 2017, arXiv:1703.03400, sections
    2.2 and 5.2).

    Args:
        objective: Maps values to a scalar.
        start: Tensors by name; for :func:`autograd_gradient` they require gradients.
        rates: The learning rate of each tensor in each step (steps, tensors).
        order: 2 differentiates through the gradients of the steps; 1 treats them as constants.
        gradient: How gradients are computed.
    """
    values = start
    yield values
    for row in rates:
        slopes = gradient(objective, values, order)
        values = {name: value - rate * slopes[name] for (name, value), rate in zip(values.items(), row, strict=True)}
        yield values


def multi_step_loss_weights(steps: int, progress: float) -> list[float]:
    """Return the weights of the query losses at the start and after each step (steps + 1).

    All steps have equal weights at first; at the end only the last step has any. The start has no weight, unless there
    are no steps.

    Antoniou, Edwards and Storkey 2019, "How to train your MAML", arXiv:1810.09502, multi-step loss optimisation.

    Args:
        steps: Number of steps.
        progress: 0 at first; from 1 on, only the last step counts.
    """
    early = max(0.0, 1 - progress) / max(steps, 1)
    return [0.0, *[early] * (steps - 1), 1 - early * (steps - 1)] if steps else [1.0]
