"""Maximum mean discrepancy of two samples: how far their means lie apart under a kernel.

Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13, Lemma 6; with several Gaussian kernels at once Long et al.
2015, arXiv:1502.02791; with the product of the kernels of several layers Long et al. 2017, arXiv:1605.06636. All of it
starts from one matrix of squared distances over both samples together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tlbench.training.precision import at_least_single

_LARGEST = 1  # the widest of five kernels has 2^1 times the mean squared distance as its variance


class _SquaredDistances(torch.autograd.Function):
    """One product of matrices forward and one backward, where plain differentiation would take two.

    The mean is subtracted first: far from zero, ||a||^2 + ||b||^2 - 2 ab cancels. The gradient of distances does not
    change by it.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = z - z.mean(0)
        ctx.save_for_backward(z)
        products = z @ z.T
        squares = products.diagonal().clone()
        return products.mul_(-2).add_(squares).add_(squares[:, None]).clamp_(min=0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        weights = gradients[0] + gradients[0].T
        return torch.addmm(z * weights.sum(1, keepdim=True), weights, z, beta=2, alpha=-2)


def squared_distances(z: Tensor) -> Tensor:
    """Return the squared distances (N, N) of rows (N, D); none is negative, those on the diagonal are zero.

    Computed in single precision, also under autocast, or in double precision where ``z`` is in it.
    """
    with torch.autocast(z.device.type, enabled=False):
        distances: Tensor = _SquaredDistances.apply(at_least_single(z))
    return distances


def gaussian_kernels(distances: Tensor, kernels: int) -> Tensor:
    """Return the mean of Gaussian kernels exp(-d^2 / (2 s^2)) of several widths, (N, N).

    The variances s^2 are powers of two times the mean squared distance of two different rows: 2^-3 ... 2^1 of it for
    five kernels, 1/2 of it for one. No gradient flows through them. Each kernel is the square of the next wider one,
    so there is one exponential.

    Args:
        distances: Squared distances (N, N), zero on the diagonal.
        kernels: An odd number.
    """
    count = len(distances)
    mean = distances.detach().sum() / (count * (count - 1))
    mean = mean.clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)  # all rows alike: every kernel is one
    widest = 2.0 ** (_LARGEST - (5 - kernels) // 2)
    kernel = (distances / (-2 * widest * mean)).exp()
    total = kernel
    for _ in range(kernels - 1):
        kernel = kernel * kernel
        total = total + kernel
    return total / kernels


def discrepancy(kernel: Tensor, count: int, unbiased: bool = True) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples.

    Args:
        kernel: The kernel of all pairs (n + m, n + m), one sample's rows before the other's.
        count: n.
        unbiased: Whether no example is compared with itself, which makes the estimate right in the mean, and
            negative at times; otherwise it is the squared distance of the two means, zero or more.
    """
    own, cross = [kernel[:count, :count], kernel[count:, count:]], kernel[:count, count:]
    if unbiased:
        within = [(part.sum() - part.trace()) / (len(part) * (len(part) - 1)) for part in own]
    else:
        within = [part.mean() for part in own]
    return within[0] + within[1] - 2 * cross.mean()
