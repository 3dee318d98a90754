"""Gradient reversal: the identity in the forward pass, whose gradient is negated and scaled in the backward pass.

Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", arXiv:1505.07818, sections 4.2 and 5.2.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, strength: Tensor) -> Tensor:
        ctx.save_for_backward(strength)
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return gradients[0] * -strength.to(gradients[0].dtype), None


def reverse_gradient(z: Tensor, strength: Tensor) -> Tensor:
    """Return ``z`` unchanged; in the backward pass its gradient is multiplied by minus the strength.

    Args:
        z: Features (B, D).
        strength: Lambda, a scalar tensor, so that a compiled step is compiled once for all values.
    """
    reversed_: Tensor = _Reversed.apply(z, strength)
    return reversed_
