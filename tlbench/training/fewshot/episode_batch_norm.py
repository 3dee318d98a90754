"""Batch normalisation inside an episode: by the statistics of the batch at hand, or of the support within it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


class EpisodeNorm(_BatchNorm):
    """Batch normalisation whose running statistics neither serve nor move, in training and evaluation alike.

    PyTorch's fused kernel has a right second derivative, but not under ``vmap`` (functorch issue 534): there the one
    written as means and products must stand for it.

    Attributes:
        support: How many rows, the first ones, the statistics are taken of; None takes all.
        fused: Whether PyTorch's own kernel may be used.
    """

    support: int | None = None
    fused: bool = True

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Return normalised (B, C, ...)."""
        self._check_input_dim(input)
        lower = input.dtype if input.dtype in (torch.bfloat16, torch.float16) else None
        x = input.float() if lower else input
        if self.fused and self.support in (None, len(x)):
            x = batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        else:
            x = self._normalise(x)
        return self._follow(x.to(lower) if lower else x)

    def _normalise(self, x: Tensor) -> Tensor:
        axes, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        centred = x - x[: self.support].mean(axes, keepdim=True)
        variance = centred[: self.support].square().mean(axes, keepdim=True)
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return centred * scale
        return torch.addcmul(self.bias.view(shape), centred, scale * self.weight.view(shape))

    def _follow(self, x: Tensor) -> Tensor:
        """Apply what timm's layers of normalisation with activation hold besides."""
        for name in ("drop", "act"):
            x = self._modules[name](x) if name in self._modules else x
        return x


def use_episode_statistics(module: nn.Module) -> list[EpisodeNorm]:
    """Switch batch normalisation layers, in place, to the statistics of episodes, and return them.

    Parameters and buffers keep their names.
    """
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            layer.__class__ = EpisodeNorm
    return [layer for layer in module.modules() if isinstance(layer, EpisodeNorm)]
