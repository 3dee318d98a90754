"""Maximum mean discrepancy of two samples: how far their means lie apart under a kernel.

Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13, Lemma 6; with several Gaussian kernels at once Long et al.
2015, arXiv:1502.02791; with the product of the kernels of several layers Long et al. 2017, arXiv:1605.06636. All of it
starts from one matrix of squared distances over both samples together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tlbench.training.precision import at_least_float32

_LARGEST = 1  # the widest of five kernels has 2^1 times the mean squared distance as its variance
_BLOCK = 512  # rows of a product at a time
_CACHED = 2**17  # numbers of a matrix that stay in a processor's cache with what is made of them


class _SquaredDistances(torch.autograd.Function):
    """Half a product of matrices forward and one backward, where plain differentiation would take three.

    The mean is subtracted first: far from zero, ||a||^2 + ||b||^2 - 2 ab cancels. The gradient of distances does not
    change by it.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = z - z.mean(0)
        ctx.save_for_backward(z)
        products = z.new_empty(len(z), len(z))
        for start in range(0, len(z), _BLOCK):  # what lies above the diagonal is mirrored
            end = min(start + _BLOCK, len(z))
            torch.mm(z[start:end], z[:end].T, out=products[start:end, :end])
            products[:start, start:end] = products[start:end, :start].T
        squares = products.diagonal().clone()
        return products.mul_(-2).add_(squares).add_(squares[:, None]).clamp_(min=0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        weights = gradients[0] + gradients[0].T
        return torch.addmm(z * weights.sum(1, keepdim=True), weights, z, beta=2, alpha=-2)


class _GaussianKernels(torch.autograd.Function):
    """The mean of exp(-f d), exp(-2 f d), exp(-4 f d), ..., and its slope in d, from one exponential in one go.

    Each kernel is the square of the one before. On a CPU some rows at a time, so that all of it happens in the cache.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, factor: Tensor, kernels: int) -> Tensor:
        mean, slope = torch.zeros_like(distances), torch.zeros_like(distances)
        rows = max(1, _CACHED // len(distances)) if distances.device.type == "cpu" else len(distances)
        for d, total, falling in zip(distances.split(rows), mean.split(rows), slope.split(rows), strict=True):
            kernel = (d * -factor).exp_()
            for power in range(kernels):
                total.add_(kernel)
                falling.add_(kernel, alpha=2**power)
                kernel.square_()
            total.div_(kernels)
            falling.mul_(-factor / kernels)
        ctx.save_for_backward(slope)
        return mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, None, None


def squared_distances(z: Tensor) -> Tensor:
    """Return the squared distances (N, N) of rows (N, D); none is negative, those on the diagonal are zero.

    Computed in single precision, or in double precision where ``z`` is in it.
    """
    distances: Tensor = _SquaredDistances.apply(at_least_float32(z))
    return distances


def gaussian_kernels(distances: Tensor, kernels: int) -> Tensor:
    """Return the mean of Gaussian kernels exp(-d^2 / (2 s^2)) of several widths, (N, N).

    The variances s^2 are powers of two times the mean squared distance of two different rows: 2^-3 ... 2^1 of it for
    five kernels, 1/2 of it for one. No gradient flows through them.

    Args:
        distances: Squared distances (N, N), zero on the diagonal.
        kernels: An odd number.
    """
    count = len(distances)
    mean = distances.sum() / (count * (count - 1))
    mean = mean.clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)  # all rows alike: every kernel is one
    widest = 2.0 ** (_LARGEST - (5 - kernels) // 2)
    kernel: Tensor = _GaussianKernels.apply(distances, 1 / (2 * widest * mean), kernels)
    return kernel


def squared_mmd(kernel: Tensor, count: int, unbiased: bool = True) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples.

    Args:
        kernel: The kernel of all pairs (n + m, n + m), one sample's rows before the other's.
        count: n.
        unbiased: Whether no example is compared with itself, which makes the estimate right in the mean, and
            negative at times; otherwise it is the squared distance of the two means, zero or more.
    """
    within, across = [], []
    for own, rows in enumerate(kernel.split([count, len(kernel) - count])):
        parts = rows.split([count, len(kernel) - count], 1)
        each = parts[own]
        pairs = each.numel() - len(each) if unbiased else each.numel()
        within.append((each.sum() - each.trace() if unbiased else each.sum()) / pairs)
        across.append(parts[1 - own].mean())
    return within[0] + within[1] - across[0] - across[1]
