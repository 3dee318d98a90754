"""LARS: momentum SGD with a learning rate per tensor, proportional to its norm over the norm of its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling, in the form with which SimCLR was trained.

    You, Gitman and Ginsburg 2017, arXiv:1708.03888, algorithm 1, with the norm of the decayed gradient:
    u = g + decay * w; v = momentum * v + lr * trust * |w| / |u| * u; w = w - v. The paper has |g| + decay * |w| in
    place of |u|. Where either norm is 0 the factor trust * |w| / |u| is 1. Tensors of one dimension (biases, scales
    of normalisation) have neither decay nor that factor. The learning rate is part of v, as in the paper, so that a
    change of it does not rescale past steps.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Momentum factor.
        weight_decay: Weight decay.
        trust: Trust coefficient: norm of a step over the norm of the tensor, at a learning rate of 1 without momentum.
    """

    def __init__(
        self, params: Any, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 1e-3
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; parameters without a gradient are not changed."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            self._update([p for p in params if p.ndim > 1], group, adapts=True)
            self._update([p for p in params if p.ndim <= 1], group, adapts=False)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any], *, adapts: bool) -> None:
        """Update some tensors; ``adapts`` says whether with weight decay and a learning rate per tensor."""
        if not weights:
            return
        gradients: Any = [p.grad for p in weights]
        if adapts:
            updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(updates, _factors(weights, updates, group["lr"], group["trust"]))
        else:
            updates = torch._foreach_mul(gradients, group["lr"])
        for p in weights:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in weights]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, updates)
        torch._foreach_sub_(weights, momenta)


def _factors(weights: list[Tensor], updates: tuple[Tensor, ...], lr: float, trust: float) -> list[Tensor]:
    """Return the factor of each tensor's update, as scalar tensors on its device."""
    weight_norms = torch.stack(torch._foreach_norm(weights))
    update_norms = torch.stack(torch._foreach_norm(updates))
    nonzero = (weight_norms > 0) & (update_norms > 0)
    return list((lr * torch.where(nonzero, trust * weight_norms / update_norms, 1.0)).unbind())
