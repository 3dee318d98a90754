"""What every backbone looks like to a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlbench.backbones.image_recipe import framing
from tlbench.backbones.layer_groups import block_groups
from tlbench.core.info import BackboneInfo
from tlbench.data.framing import Framing, start_of_middle

_SUBLAYERS = (("attn", "mlp"), ("self_attention", "mlp"), ("attn_layer", "mlp_layer"))
_MULTIPLE = 8  # lengths of texts are rounded up to


@dataclass(frozen=True)
class Sublayers:
    """Names of the two modules whose outputs a transformer block adds to its residual stream.

    The outputs have the features last: (..., width). What follows them before the sum (a layer scale, stochastic
    depth, the post-normalisation of Swin v2) keeps that shape.

    Attributes:
        attention: The attention; where it returns a tuple, the first element counts.
        feed_forward: The perceptron after it.
        attention_end: The module inside the attention whose output is added, where the attention module computes the
            sum itself; else empty.
        feed_forward_start: The first module of the perceptron, where it is several modules of which ``feed_forward``
            is the last; else empty.
    """

    attention: str
    feed_forward: str
    attention_end: str = ""
    feed_forward_start: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """What the token ids of a text backbone mean.

    Attributes:
        size: Rows of the token table; ids lie below it.
        pad: The id that fills a text up to the length of others; it stands only behind a text.
        mask: The id that hides a token.
        special: All ids that stand for no piece of a text, padding and mask among them.
    """

    size: int
    pad: int
    mask: int
    special: tuple[int, ...]


@dataclass(frozen=True)
class BodyParts:
    """How the network of a backbone is divided; see the attributes of the same names of :class:`Backbone`."""

    layer_groups: list[list[str]]
    blocks: list[str]
    sublayers: Sequence[Sublayers] = ()


class Backbone(nn.Module):
    """An encoder from raw inputs to feature vectors, with its depth made explicit.

    Attributes:
        info: Facts and recipe.
        prepare: Turns raw ``uint8`` images (B, C, H, W) into what ``body`` reads: float, scaled and cut, channels
            repeated or averaged, normalised by constants of the recipe; or token ids (B, L) into those of the longest
            text of the batch, :class:`Trim`. Has no parameters.
        body: The network; (B, ...) -> (B, out_dim). That of a text backbone also has ``states(ids)``, which returns
            the last hidden states (B, L, width) of prepared ids, and the token table ``embedding``.
        out_dim: Width of the feature vector.
        layer_groups: Names of the direct or nested submodules of ``body``, from stem to top; each parameter of
            ``body`` lies under exactly one of them. A parameter that lies beside the submodules (the class token of
            a transformer) stands there by its own name; :meth:`group_parameters` resolves both.
        blocks: Names of the submodules of ``body`` after which an adapter belongs (residual or transformer blocks).
        sublayers: One entry a transformer block of ``body``, in order; empty for networks that have none.
        vocabulary: What token ids mean; None unless the backbone reads text.
    """

    def __init__(
        self,
        info: BackboneInfo,
        prepare: nn.Module,
        body: nn.Module,
        out_dim: int,
        parts: BodyParts,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        super().__init__()
        self.info = info
        self.prepare = prepare
        self.body = body
        self.out_dim = out_dim
        self.layer_groups = parts.layer_groups
        self.blocks = parts.blocks
        self.sublayers = list(parts.sublayers)
        self.vocabulary = vocabulary

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, out_dim) of raw inputs, images (B, C, H, W) or token ids (B, L)."""
        features: Tensor = self.body(self.prepare(x))
        return features

    def group_parameters(self) -> list[list[nn.Parameter]]:
        """Return the parameters of each layer group, from stem to top."""
        return self._parameters_under(self.layer_groups)

    def fine_groups(self) -> list[list[nn.Parameter]]:
        """Return the parameters block by block, from stem to top; each lies in exactly one group.

        As :meth:`group_parameters`, except that a stage is split into its blocks. What stands between two blocks
        belongs to the later one; a normalisation after the last belongs to the last.
        """
        return self._parameters_under(block_groups(self.body, self.blocks))

    def replace(self, name: str, module: nn.Module) -> None:
        """Put a module in the place of a submodule of ``body``, under the same name.

        Args:
            name: As in ``body.named_modules()``; the empty name is the body itself.
            module: What takes the place.

        Raises:
            AttributeError: ``body`` has no submodule of that name.
        """
        if name:
            replace_module(self.body, name, module)
        else:
            self.body = module

    def _parameters_under(self, groups: list[list[str]]) -> list[list[nn.Parameter]]:
        named = list(self.body.named_parameters())
        return [
            [p for name, p in named if any(name == part or name.startswith(f"{part}.") for part in group)]
            for group in groups
        ]


def replace_module(root: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of the submodule ``name`` of ``root``.

    Raises:
        AttributeError: There is no such submodule.
    """
    root.get_submodule(name)
    parent, _, own = name.rpartition(".")
    setattr(root.get_submodule(parent), own, module)


def find_sublayers(body: nn.Module) -> list[Sublayers]:
    """Return the sublayers of every transformer block, in order; recognised by the names that libraries give them.

    Blocks that work on channels-first maps, by convolutions alone, are left out: their features are not last.
    """
    sublayers = []
    for name, module in body.named_modules():
        children = dict(module.named_children())
        for pair in _SUBLAYERS:
            if all(key in children and _is_linear(children[key]) for key in pair):
                attention, feed_forward = (f"{name}.{key}" if name else key for key in pair)
                sublayers.append(Sublayers(attention, feed_forward))
    return sublayers


def _is_linear(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Linear) for part in module.modules())


@dataclass(frozen=True)
class ImageInput:
    """How raw images become network input; every field is part of the recipe.

    Attributes:
        framing: How images are scaled and cut to the square that the network reads.
        channels: 1 or 3; grey images are repeated to 3, colour images averaged to 1 (ITU-R 601 luma).
        mean: Subtracted after scaling to [0, 1], one value a channel.
        std: Divided by after that, one value a channel.
    """

    framing: Framing
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def image_input(info: BackboneInfo) -> ImageInput:
    """Return how the recipe of an image backbone has images prepared."""
    channels, mean, std = (info.recipe[key] for key in ("channels", "mean", "std"))
    return ImageInput(framing(info.recipe), channels, tuple(mean), tuple(std))


class Prepare(nn.Module):
    """Raw ``uint8`` (or float in [0, 255]) images (B, C, H, W) -> normalised float (B, channels, size, size).

    Scaling is antialiased. Like the image libraries with which networks are evaluated, bicubic scaling makes whole
    shades, which cuts off what it overshoots; bilinear scaling, which overshoots nothing, keeps fractions of them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ImageInput) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return network input of raw images."""
        framing = self.spec.framing
        size = framing.scaled(*x.shape[-2:])
        if framing.interpolation == "bicubic":
            x = _bicubic(x, size)
        x = x.to(self.mean.dtype) / 255
        if x.shape[1] != self.spec.channels:
            if x.shape[1] == 1:
                x = x.expand(-1, self.spec.channels, -1, -1)
            else:
                x = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        if x.shape[-2:] != size:
            x = nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        return _middle((x - self.mean) / self.std, framing.image_size)


def _bicubic(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images in a size as image libraries do: one direction after the other, each in whole shades.

    On a CPU torch does so itself, for bytes; a shade in some thousands is another.
    """
    if x.shape[-2:] == size:
        return x
    if x.dtype == torch.uint8 and x.device.type == "cpu":
        return nn.functional.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True)
    for step in ((x.shape[-2], size[1]), size):
        x = nn.functional.interpolate(x.float(), size=step, mode="bicubic", align_corners=False, antialias=True)
        x = x.clamp(0, 255).round()
    return x


def _middle(x: Tensor, size: int) -> Tensor:
    """Return the middle square of normalised images; what they lack is padded with the mean, which is zero by now."""
    lacking = [max(size - side, 0) for side in x.shape[-2:]]
    if any(lacking):
        (above, below), (left, right) = ((each // 2, each - each // 2) for each in lacking)
        x = nn.functional.pad(x, (left, right, above, below))
    top, left = (start_of_middle(side, size) for side in x.shape[-2:])
    return x[..., top : top + size, left : left + size]


def vocabulary(info: BackboneInfo) -> Vocabulary:
    """Return the meaning of token ids that the recipe of a text backbone states."""
    facts = info.recipe["vocabulary"]
    return Vocabulary(facts["size"], facts["pad"], facts["mask"], tuple(facts["special"]))


class Trim(nn.Module):
    """Token ids (B, L), padded behind -> ``int64`` ids of the longest text in the batch, and little more.

    The length is rounded up to a multiple of 8, which keeps the number of shapes small, and is at most L.

    Args:
        pad: The id of padding.
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, ids: Tensor) -> Tensor:
        """Return ids (B, L') with L' at most L; nothing but padding is cut off."""
        return ids[:, : round_length(int((ids != self.pad).sum(1).amax()))].long()


def round_length(length: int) -> int:
    """Return the length at which texts are computed whose longest has that many tokens."""
    return max(1, -(-length // _MULTIPLE)) * _MULTIPLE


def absent_backbone(info: BackboneInfo) -> Backbone:
    """Return what a method is given that reads no backbone: a module without parameters that nothing calls."""
    return Backbone(info, nn.Identity(), nn.Identity(), 0, BodyParts([], []))
