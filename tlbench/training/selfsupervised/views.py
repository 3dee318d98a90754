"""Two random views of every image: drawn from a given generator, made for whole batches on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tlbench.core.config import Views
from tlbench.training.augmentation import affine_matrices, apply_transforms, crop_matrices
from tlbench.training.batches import IndexedExamples
from tlbench.training.context import Context
from tlbench.training.selfsupervised.blur import blur
from tlbench.training.selfsupervised.colour_jitter import jitter, luma

_JITTERED, _STRENGTH = 0.8, (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue
_SIGMA = (0.1, 2.0)
_SMALL = 64  # pixels of a side up to which colour images count as small
_DRAWS = 19


@dataclass(frozen=True)
class ViewPolicy:
    """What may be done to an image.

    Attributes:
        least: Smallest area of a crop, as a share of the image's.
        flips: Whether every other view is mirrored, left to right.
        bend: How far a view is turned, scaled, sheared and shifted besides, as a share of what ``affine`` moves are.
        strength: Of the colour jitter.
        grey: Share of views in grey.
        blurred: Share of views that are blurred.
    """

    least: float = 0.08
    flips: bool = True
    bend: float = 0.0
    strength: float = 0.5
    grey: float = 0.2
    blurred: float = 0.0


VIEW_POLICIES: dict[str, ViewPolicy] = {
    "objects": ViewPolicy(strength=1.0, blurred=0.5),
    "small_objects": ViewPolicy(),
    "characters": ViewPolicy(least=0.7, flips=False, bend=0.7, grey=0.0),
}
"""``objects`` is what SimCLR was trained with on ImageNet and ``small_objects`` on CIFAR-10 (Chen et al. 2020,
arXiv:2002.05709, appendices A and B.9); ``characters`` are not themselves when mirrored or cropped to a corner."""


def view_policy(views: Views, shape: torch.Size | tuple[int, ...]) -> ViewPolicy:
    """Return the policy of a name.

    Args:
        views: The name. ``auto`` takes ``characters`` for images of one channel, ``small_objects`` for colour images
            of up to 64 pixels a side, and ``objects`` for larger ones: a guess, as a photograph may be grey.
        shape: Shape of an image (C, H, W).
    """
    if views == "auto":
        views = "characters" if shape[0] == 1 else "small_objects" if max(shape[1:]) <= _SMALL else "objects"
    return VIEW_POLICIES[views]


class ViewBatch(NamedTuple):
    """One process's share of a global batch.

    Attributes:
        x: Views (2b, C, H, W), floating in [0, 255]: the first of b images, then the second of the same.
        size: Number of images in the global batch.
    """

    x: Tensor
    size: int


class ViewTransforms(NamedTuple):
    """What is done to each of B images, in this order; on the CPU.

    Attributes:
        maps: Where each place of the new image lies in the old one, as for :func:`apply_transforms` (B, 2, 3).
        brightness: Factors (B,), as are contrast and saturation.
        contrast: See :func:`jitter`.
        saturation: See :func:`jitter`.
        hue: Full turns (B,).
        grey: Whether the image becomes grey (B,).
        sigma: Width of the blur in pixels, 0 for none (B,).
    """

    maps: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    grey: Tensor
    sigma: Tensor

    def each(self, work: Callable[[Tensor], Tensor]) -> ViewTransforms:
        """Return the same changes with ``work`` done on every part."""
        return ViewTransforms(*map(work, self))


def sample_view_transforms(
    policy: ViewPolicy, strength: float, count: int, generator: torch.Generator
) -> ViewTransforms:
    """Return random changes of ``count`` images.

    Args:
        policy: What may be done.
        strength: Of the colour jitter, over the policy's own; 0 leaves colours alone.
        count: Number of images.
        generator: The source of randomness; it gives as many numbers whatever the policy.
    """
    u = torch.rand(count, _DRAWS, generator=generator)
    crop, bend, amounts = u[:, :5], (2 * u[:, 5:11] - 1) * policy.bend, u[:, 11:15]
    jittered, grey, blurred, width = u[:, 15:].unbind(1)
    reach = strength * policy.strength * amounts.new_tensor(_STRENGTH)
    low = (1 - reach).clamp_min(0)
    factors = low[:3] + amounts[:, :3] * (1 + reach - low)[:3]
    hue = (2 * amounts[:, 3] - 1) * reach[3].clamp_max(0.5)
    applied = jittered < _JITTERED
    brightness, contrast, saturation = torch.where(applied[:, None], factors, 1.0).unbind(1)
    return ViewTransforms(
        maps=_compose(affine_matrices(bend), crop_matrices(crop, policy.least, policy.flips)),
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=torch.where(applied, hue, 0.0),
        grey=grey < policy.grey,
        sigma=torch.where(blurred < policy.blurred, _SIGMA[0] + width * (_SIGMA[1] - _SIGMA[0]), 0.0),
    )


def apply_view_transforms(x: Tensor, changes: ViewTransforms) -> Tensor:
    """Return changed images (B, C, H, W), floating in [0, 255], of raw ones."""
    x = apply_transforms(x, changes.maps)
    x = jitter(x, changes.brightness, changes.contrast, changes.saturation, changes.hue)
    if x.shape[1] > 1:
        x = torch.where(changes.grey.to(x.device)[:, None, None, None], luma(x), x)
    return blur(x, changes.sigma)


class ViewBatches:
    """The batches of every epoch: two views of all images once, in a fresh order, in pieces of nearly equal size.

    Order and changes are drawn on the CPU for the global batch, of which each process then takes its shard; views are
    made on the device, which is not waited for.

    Args:
        images: What to take views of; their labels are not read.
        size: Largest global batch, in images.
        views: Names the policy.
        strength: Of the colour jitter, over the policy's own.
        ctx: Randomness and shards.
        name: Tells the trainings of one cell apart.
    """

    def __init__(
        self, images: IndexedExamples, size: int, views: Views, strength: float, ctx: Context, name: str
    ) -> None:
        self._images = images
        self._policy = view_policy(views, images.shape)
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
            pair = [
                sample_view_transforms(self._policy, self._strength, len(rows), generator).each(ctx.shard)
                for _ in range(2)
            ]
            changes = ViewTransforms(*map(torch.cat, zip(*pair, strict=True)))
            x, _ = self._images.take(ctx.shard(rows))
            yield ViewBatch(apply_view_transforms(x.repeat(2, 1, 1, 1), changes), len(rows))


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Return the affine maps (B, 2, 3) that do ``inner`` and then ``outer``."""
    turn, slide = outer.split([2, 1], 2)
    both = turn @ inner
    return torch.cat([both[:, :, :2], both[:, :, 2:] + slide], 2)
