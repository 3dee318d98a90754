"""Batch normalisation within an episode: by the statistics of the current batch, or of the support part of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from tlbench.training.batch_norm import BatchNormVariant, replace_batch_norm


class EpisodeNorm(BatchNormVariant):
    """Batch normalisation that always uses batch statistics; running statistics are neither used nor updated.

    PyTorch's fused kernel has a correct second derivative, but not under ``vmap`` (functorch issue 534); there an
    implementation by means and products replaces it.

    Attributes:
        support: Number of rows, from the first, from which the statistics are computed; None uses all.
        fused: Whether PyTorch's fused kernel may be used.
    """

    support: int | None = None
    fused: bool = True

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input (B, C, ...)."""
        self._check_input_dim(input)
        lower = input.dtype if input.dtype in (torch.bfloat16, torch.float16) else None
        x = input.float() if lower else input
        if self.fused and self.support in (None, len(x)):
            x = batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        else:
            x = self._normalise(x)
        return self.fused_activation(x.to(lower) if lower else x)

    def _normalise(self, x: Tensor) -> Tensor:
        axes, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        centred = x - x[: self.support].mean(axes, keepdim=True)
        variance = centred[: self.support].square().mean(axes, keepdim=True)
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return centred * scale
        return torch.addcmul(self.bias.view(shape), centred, scale * self.weight.view(shape))


def use_episode_statistics(module: nn.Module) -> list[EpisodeNorm]:
    """Replace the batch normalisation layers of a module, in place, by :class:`EpisodeNorm`, and return them."""
    return replace_batch_norm(module, EpisodeNorm)
