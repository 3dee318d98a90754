"""LARS: momentum with a rate for each tensor, in proportion to its norm over that of its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling, in the form that SimCLR was trained with.

    You, Gitman and Ginsburg 2017, arXiv:1708.03888, algorithm 1, with the norm of the decayed gradient:
    u = g + decay * w; v = momentum * v + lr * trust * |w| / |u| * u; w = w - v. The paper has |g| + decay * |w| in
    place of |u|. Where either norm is 0 the factor trust * |w| / |u| is 1. Tensors of one dimension (biases, scales
    of normalisation) have neither decay nor that factor. The rate is part of v, as in the paper: a rate that changes
    leaves past steps alone.

    Args:
        params: Parameters, or groups of them, which may carry their own settings.
        lr: Rate.
        momentum: Share of the last step in the next.
        weight_decay: Added to the gradient, times the weights.
        trust: Length of a step over that of the tensor, at a rate of 1 and without momentum.
    """

    def __init__(
        self, params: Any, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 1e-3
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; parameters without a gradient stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            self._move([p for p in moved if p.ndim > 1], group, adapts=True)
            self._move([p for p in moved if p.ndim <= 1], group, adapts=False)
        return loss

    def _move(self, weights: list[Tensor], group: dict[str, Any], *, adapts: bool) -> None:
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
        kept = [self.state[p]["momentum"] for p in weights]
        torch._foreach_mul_(kept, group["momentum"])
        torch._foreach_add_(kept, updates)
        torch._foreach_sub_(weights, kept)


def _factors(weights: list[Tensor], updates: tuple[Tensor, ...], lr: float, trust: float) -> list[Tensor]:
    """Return what each tensor's update is multiplied by, as scalars on its device."""
    lengths = torch.stack(torch._foreach_norm(weights))
    steps = torch.stack(torch._foreach_norm(updates))
    both = (lengths > 0) & (steps > 0)
    return list((lr * torch.where(both, trust * lengths / steps, 1.0)).unbind())
