"""Maximum mean discrepancy of two samples: the distance of their means in the feature space of a kernel.

Gretton et al. 2012, "A Kernel Two-Sample Test", JMLR 13, Lemma 6; with several Gaussian kernels Long et al. 2015,
arXiv:1502.02791; with the product of the kernels of several layers Long et al. 2017, arXiv:1605.06636. All of them are
computed from one matrix of squared distances over both samples together.

Several Gaussian kernels are added, as in the authors' code and in the Transfer Learning Library: their mean would be a
loss as many times weaker.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tlbench.training.precision import at_least_float32

_WIDEST = 1  # the variance of the widest of five kernels is 2^1 times the mean squared distance
_PROBABILITY_WIDTH = 1.68  # twice the variance of the kernel of class probabilities
_BLOCK = 512  # rows of a matrix product that are computed at a time
_CACHED = 2**17  # entries of a matrix that fit into a CPU's cache together with two results of the same size


class _SquaredDistances(torch.autograd.Function):
    """Squared distances at the cost of 1.5 matrix products, where automatic differentiation takes three.

    The mean is subtracted first, since ||a||^2 + ||b||^2 - 2 ab cancels far from the origin; it does not change
    distances or their gradient.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = z - z.mean(0)
        ctx.save_for_backward(z)
        products = z.new_empty(len(z), len(z))
        for start in range(0, len(z), _BLOCK):  # the part above the diagonal is mirrored
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
    """The sum of exp(-f d), exp(-2 f d), exp(-4 f d), ... and its derivative in d, from a single exponential.

    Each kernel is the square of the one before. On a CPU a few rows are processed at a time, to stay in the cache.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, factor: Tensor, kernels: int) -> Tensor:
        total, slope = torch.zeros_like(distances), torch.zeros_like(distances)
        rows = max(1, _CACHED // len(distances)) if distances.device.type == "cpu" else len(distances)
        for d, total_rows, slope_rows in zip(distances.split(rows), total.split(rows), slope.split(rows), strict=True):
            kernel = (d * -factor).exp_()
            for power in range(kernels):
                total_rows.add_(kernel)
                slope_rows.add_(kernel, alpha=2**power)
                kernel.square_()
            slope_rows.mul_(-factor)
        ctx.save_for_backward(slope)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope, None, None


def squared_distances(z: Tensor) -> Tensor:
    """Return the squared distances (N, N) of rows (N, D): non-negative, and zero on the diagonal.

    Computed in float32, or in float64 if ``z`` is in float64.
    """
    distances: Tensor = _SquaredDistances.apply(at_least_float32(z))
    return distances


def gaussian_kernels(distances: Tensor, kernels: int) -> Tensor:
    """Return the sum of Gaussian kernels exp(-d^2 / (2 s^2)) of several widths (N, N).

    It is ``kernels`` on the diagonal. The variances s^2 are powers of two times the mean squared distance of two
    different rows: 2^-3 ... 2^1 times for five kernels, 1/2 times for one. No gradient flows through them.

    Args:
        distances: Squared distances d^2 (N, N), zero on the diagonal.
        kernels: Number of kernels, odd.
    """
    count = len(distances)
    mean = distances.sum() / (count * (count - 1))
    mean = mean.clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)  # if all rows are equal, every kernel is one
    widest = 2.0 ** (_WIDEST - (5 - kernels) // 2)
    kernel: Tensor = _GaussianKernels.apply(distances, 1 / (2 * widest * mean), kernels)
    return kernel


def probability_kernel(distances: Tensor) -> Tensor:
    """Return the one Gaussian kernel exp(-d^2 / 1.68) (N, N) that joint discrepancies use for class probabilities.

    Its width is fixed, since probabilities have one scale: that of the code of Long et al. 2017, arXiv:1605.06636.

    Args:
        distances: Squared distances d^2 (N, N) of probabilities.
    """
    return (distances / -_PROBABILITY_WIDTH).exp()


def squared_mmd(kernel: Tensor, count: int, unbiased: bool = True) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples of n and m examples.

    Args:
        kernel: The kernel of all pairs (n + m, n + m), the first sample's rows before the second's.
        count: The first sample's size n.
        unbiased: Whether pairs of an example with itself are left out: the estimate is then unbiased, and may be
            negative; otherwise it is the squared distance of the two empirical means, at least zero.
    """
    sizes = [count, len(kernel) - count]
    within: list[Tensor] = []
    across: list[Tensor] = []
    for own, rows in enumerate(kernel.split(sizes)):
        blocks = rows.split(sizes, 1)
        block = blocks[own]
        pairs = block.numel() - len(block) if unbiased else block.numel()
        within.append((block.sum() - block.trace() if unbiased else block.sum()) / pairs)
        across.append(blocks[1 - own].mean())
    return within[0] + within[1] - across[0] - across[1]
