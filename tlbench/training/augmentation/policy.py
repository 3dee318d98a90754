"""How the training images of one method change: the moves, RandAugment's operations after them, and mixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tlbench.core.config import Mix, Moves
from tlbench.training.augmentation.mixing import Mixtures, sample_mixtures
from tlbench.training.augmentation.operations import Operations, apply_operations, sample_operations
from tlbench.training.augmentation.placement import apply_transforms, sample_transforms


class Changes(NamedTuple):
    """What is done to each of B images, in this order; on the CPU.

    Attributes:
        transforms: The result of :func:`sample_transforms`; None moves nothing.
        operations: RandAugment's; None for none.
    """

    transforms: Tensor | None = None
    operations: Operations | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Changes:
        """Return the changes with a function applied to every tensor, as one that takes some of the images."""
        return Changes(
            None if self.transforms is None else function(self.transforms),
            None if self.operations is None else Operations(*map(function, self.operations)),
        )


def apply_changes(x: Tensor, changes: Changes) -> Tensor:
    """Return changed images (B, C, H, W) of raw images (B, C, H, W), on the same scale."""
    if changes.transforms is not None:
        x = apply_transforms(x, changes.transforms)
    return x if changes.operations is None else apply_operations(x, changes.operations)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to training images.

    Attributes:
        moves: The moves, by the name of :func:`sample_transforms`.
        crop_area: Smallest area of a crop, as a share of the image's.
        operations: Number of RandAugment's operations on each image; 0 without it.
        magnitude: Their magnitude, from 0 to 30.
        mix: How two images and their labels are mixed.
        alpha: Both parameters of the beta distribution of the weights.
        crop_fraction: Sides of the middle of an image that the network reads and a crop fills, as a fraction.
    """

    moves: Moves = "none"
    crop_area: float = 0.08
    operations: int = 0
    magnitude: float = 0.0
    mix: Mix = "none"
    alpha: float = 1.0
    crop_fraction: float = 1.0

    @property
    def changes_images(self) -> bool:
        """Whether an image differs from one epoch to another."""
        return self.moves != "none" or self.operations > 0 or self.mix != "none"

    def sample(self, count: int, shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Changes:
        """Sample the changes of ``count`` images; nothing is drawn for what does not happen.

        Args:
            count: Number of images.
            shape: Shape of one image (C, H, W).
            generator: A CPU generator.
        """
        transforms = operations = None
        if self.moves != "none":
            transforms = sample_transforms(self.moves, count, shape, generator, self.crop_area, self.crop_fraction)
        if self.operations:
            operations = sample_operations(count, self.operations, self.magnitude, generator)
        return Changes(transforms, operations)

    def sample_mixtures(
        self, count: int, shape: torch.Size | tuple[int, ...], generator: torch.Generator
    ) -> Mixtures | None:
        """Sample how the ``count`` images of a batch are mixed; None, and nothing is drawn, where they are not."""
        if self.mix == "none":
            return None
        return sample_mixtures(self.mix, self.alpha, count, shape, generator)


UNCHANGED = Augmentation()
"""Images stay as they are."""
