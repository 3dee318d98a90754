"""What every backbone looks like to a method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlbench.core.info import BackboneInfo


class Backbone(nn.Module):
    """An encoder from raw inputs to feature vectors, with its depth made explicit.

    Attributes:
        info: Facts and recipe.
        prepare: Turns raw ``uint8`` images (B, C, H, W) into what ``body`` reads: float, resized, channels repeated
            or averaged, normalised by constants of the recipe. Has no parameters.
        body: The network; (B, ...) -> (B, out_dim).
        out_dim: Width of the feature vector.
        layer_groups: Names of the direct or nested submodules of ``body``, from stem to top; each parameter of
            ``body`` lies under exactly one of them. A parameter that lies beside the submodules (the class token of
            a transformer) stands there by its own name; :meth:`group_parameters` resolves both.
        blocks: Names of the submodules of ``body`` after which an adapter belongs (residual or transformer blocks).
    """

    def __init__(
        self,
        info: BackboneInfo,
        prepare: nn.Module,
        body: nn.Module,
        out_dim: int,
        layer_groups: list[list[str]],
        blocks: list[str],
    ) -> None:
        super().__init__()
        self.info = info
        self.prepare = prepare
        self.body = body
        self.out_dim = out_dim
        self.layer_groups = layer_groups
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, out_dim) of raw inputs (B, C, H, W)."""
        return self.body(self.prepare(x))

    def group_parameters(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each layer group, from stem to top."""
        named = list(self.body.named_parameters())
        return [
            [p for name, p in named if any(name == part or name.startswith(f"{part}.") for part in group)]
            for group in self.layer_groups
        ]


@dataclass(frozen=True)
class ImageInput:
    """How raw images become network input; every field is part of the recipe.

    Attributes:
        image_size: Height and width the network reads; images of another size are resized (bilinear, antialiased).
        channels: 1 or 3; grey images are repeated to 3, colour images averaged to 1 (ITU-R 601 luma).
        mean: Subtracted after scaling to [0, 1], one value a channel.
        std: Divided by after that, one value a channel.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def image_input(info: BackboneInfo) -> ImageInput:
    """Return how the recipe of an image backbone has images prepared."""
    size, channels, mean, std = (info.recipe[key] for key in ("image_size", "channels", "mean", "std"))
    return ImageInput(size, channels, tuple(mean), tuple(std))


class Prepare(nn.Module):
    """Raw ``uint8`` (or float in [0, 255]) images (B, C, H, W) -> normalised float (B, channels, size, size)."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ImageInput) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return network input of raw images."""
        x = x.to(self.mean.dtype) / 255
        if x.shape[1] != self.spec.channels:
            if x.shape[1] == 1:
                x = x.expand(-1, self.spec.channels, -1, -1)
            else:
                x = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        size = (self.spec.image_size, self.spec.image_size)
        if x.shape[-2:] != size:
            x = nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        return (x - self.mean) / self.std
