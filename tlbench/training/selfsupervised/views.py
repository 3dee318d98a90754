"""Two random views of every image of a batch, computed on the device; random numbers come from a given generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tlbench.core.config import Views
from tlbench.training.augmentation.colour import jitter, luma
from tlbench.training.augmentation.placement import affine_matrices, apply_transforms, crop_matrices
from tlbench.training.batches import IndexedExamples
from tlbench.training.context import Context
from tlbench.training.selfsupervised.blur import blur

_JITTER_PROBABILITY, _STRENGTH = 0.8, (0.8, 0.8, 0.8, 0.2)  # strength: brightness, contrast, saturation, hue
_SIGMA = (0.1, 2.0)  # range of the blur's width, in pixels
_SMALL = 64  # largest side in pixels of a small colour image
_NUMBERS = 19  # random numbers of a view


@dataclass(frozen=True)
class ViewPolicy:
    """The distribution of views.

    Attributes:
        min_area: Smallest area of a crop, as a fraction of the image's.
        flips: Whether views are flipped horizontally with probability 1/2.
        affine: Strength of random affine transforms, as a fraction of the ``affine`` augmentation's.
        strength: Strength of the colour jitter.
        grey: Probability of a greyscale view.
        blur: Probability of a blurred view.
    """

    min_area: float = 0.08
    flips: bool = True
    affine: float = 0.0
    strength: float = 0.5
    grey: float = 0.2
    blur: float = 0.0


VIEW_POLICIES: dict[str, ViewPolicy] = {
    "objects": ViewPolicy(strength=1.0, blur=0.5),
    "small_objects": ViewPolicy(),
    "characters": ViewPolicy(min_area=0.7, flips=False, affine=0.7, grey=0.0),
}
"""``objects`` is SimCLR's policy for ImageNet and ``small_objects`` that for CIFAR-10 (Chen et al. 2020,
arXiv:2002.05709, appendices A and B.9). Under ``characters`` images are not flipped, and crops keep most of the image,
since flips and small crops change which character it is."""


def view_policy(views: Views, shape: torch.Size | tuple[int, ...], characters: bool = False) -> ViewPolicy:
    """Return the policy of a name.

    Args:
        views: The name. ``auto`` is ``characters`` for what is known to show such and for images of one channel,
            ``small_objects`` for other images of up to 64 x 64 pixels, and ``objects`` for larger ones; a heuristic,
            since a photograph may be greyscale.
        shape: Shape of an image (C, H, W).
        characters: Whether images are known to show characters or signs.
    """
    if views == "auto":
        views = (
            "characters" if characters or shape[0] == 1 else "small_objects" if max(shape[1:]) <= _SMALL else "objects"
        )
    return VIEW_POLICIES[views]


class ViewBatch(NamedTuple):
    """One process's shard of a global batch.

    Attributes:
        x: Views (2b, C, H, W), floating point in [0, 255]: the first views of b images, then their second views.
        size: Number of images in the global batch.
    """

    x: Tensor
    size: int


class ViewTransforms(NamedTuple):
    """The transforms of B views, in the order in which they are applied; on the CPU.

    Attributes:
        matrices: Affine matrices of :func:`apply_transforms` (B, 2, 3).
        brightness: Factors of :func:`jitter` (B,).
        contrast: Factors of :func:`jitter` (B,).
        saturation: Factors of :func:`jitter` (B,).
        hue: Hue shifts in turns (B,).
        grey: Whether the view is greyscale (B,).
        sigma: Width of the blur in pixels (B,); 0 for none.
    """

    matrices: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    grey: Tensor
    sigma: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> ViewTransforms:
        """Return the transforms with a function applied to every tensor."""
        return ViewTransforms(*map(function, self))


def sample_view_transforms(
    policy: ViewPolicy, strength: float, count: int, generator: torch.Generator, crop_fraction: float = 1.0
) -> ViewTransforms:
    """Sample the transforms of ``count`` views.

    Args:
        policy: The distribution of views.
        strength: Strength of the colour jitter relative to the policy's; 0 leaves colours unchanged.
        count: Number of views.
        generator: A CPU generator; the number of values drawn from it does not depend on the policy.
        crop_fraction: Sides of the middle of an image that the network reads and a crop fills, as a fraction.
    """
    u = torch.rand(count, _NUMBERS, generator=generator)
    crop, affine, amounts = u[:, :5], (2 * u[:, 5:11] - 1) * policy.affine, u[:, 11:15]
    jittered, grey, blurred, width = u[:, 15:].unbind(1)
    spread = strength * policy.strength * amounts.new_tensor(_STRENGTH)
    low = (1 - spread).clamp_min(0)
    factors = low[:3] + amounts[:, :3] * (1 + spread - low)[:3]
    hue = (2 * amounts[:, 3] - 1) * spread[3].clamp_max(0.5)
    applied = jittered < _JITTER_PROBABILITY
    brightness, contrast, saturation = torch.where(applied[:, None], factors, 1.0).unbind(1)
    return ViewTransforms(
        matrices=_compose(affine_matrices(affine), crop_matrices(crop, policy.min_area, policy.flips, crop_fraction)),
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=torch.where(applied, hue, 0.0),
        grey=grey < policy.grey,
        sigma=torch.where(blurred < policy.blur, _SIGMA[0] + width * (_SIGMA[1] - _SIGMA[0]), 0.0),
    )


def apply_view_transforms(x: Tensor, transforms: ViewTransforms) -> Tensor:
    """Return views (B, C, H, W), floating point in [0, 255], of raw images (B, C, H, W)."""
    x = apply_transforms(x, transforms.matrices)
    x = jitter(x, transforms.brightness, transforms.contrast, transforms.saturation, transforms.hue)
    if x.shape[1] > 1:
        x = torch.where(transforms.grey.to(x.device)[:, None, None, None], luma(x), x)
    return blur(x, transforms.sigma)


class ViewBatches:
    """The batches of every epoch: two views of every image, in a new order, in batches of nearly equal size.

    Order and transforms are sampled on the CPU for the global batch, of which each process takes its shard; views are
    computed on the device.

    Args:
        images: The images; their labels are not read.
        size: Largest global batch, in images.
        views: Name of the policy.
        strength: Strength of the colour jitter relative to the policy's.
        ctx: Randomness and processes.
        name: Name of the training, unique within the cell.

    Attributes:
        count: Number of batches of an epoch.
    """

    def __init__(
        self, images: IndexedExamples, size: int, views: Views, strength: float, ctx: Context, name: str
    ) -> None:
        self._images = images
        self._policy = view_policy(views, images.shape, ctx.characters)
        self._strength = strength
        self._ctx = ctx
        self._name = name
        self.count = -(-len(images) // size)

    def epoch(self, epoch: int) -> Iterator[ViewBatch]:
        """Yield the batches of one epoch."""
        ctx = self._ctx
        generator = ctx.generator(self._name, "views", epoch)
        order = torch.randperm(len(self._images), generator=generator)
        for rows in order.tensor_split(self.count):
            views = [
                sample_view_transforms(self._policy, self._strength, len(rows), generator, ctx.crop_fraction)
                for _ in range(2)
            ]
            shards = [each.map(ctx.shard) for each in views]
            transforms = ViewTransforms(*map(torch.cat, zip(*shards, strict=True)))
            x, _ = self._images.take(ctx.shard(rows))
            yield ViewBatch(apply_view_transforms(x.repeat(2, 1, 1, 1), transforms), len(rows))


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Return the affine matrices (B, 2, 3) that apply ``inner`` and then ``outer``."""
    linear, translation = outer.split([2, 1], 2)
    product = linear @ inner
    return torch.cat([product[:, :, :2], product[:, :, 2:] + translation], 2)
