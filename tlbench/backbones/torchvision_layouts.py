"""What must be known of each family of torchvision's networks: its blocks, its stem for small images, its sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tlbench.backbones.torchvision_sources import Model


@dataclass(frozen=True)
class Small:
    """A stem for small images: the first convolution is replaced, the pooling after it taken out.

    Attributes:
        kernel: Side of the new kernel.
        was: Side of the published kernel; weights fit where it stays the same.
        stride: Stride of the new convolution.
        pool: Name of the pooling to take out, or empty.
        smallest: Least image size.
        first: Name of the first convolution's weights, by whose shape files with the small stem are known; empty where
            both stems have the same.
    """

    kernel: int
    was: int
    stride: int = 1
    pool: str = ""
    smallest: int = 8
    first: str = ""


@dataclass(frozen=True)
class Layout:
    """What must be known of the networks of one source file.

    Attributes:
        blocks: Class names of the blocks; see :mod:`tlbench.backbones.layer_groups`.
        small: The stem for small images, where it makes sense.
        size: Image size with the standard stem when neither weights nor user decide.
        smallest: Least image size with the standard stem.
        step: Image sizes are multiples of it (times the patch of a transformer).
        size_argument: The constructor's argument for the image size, where the network is made for one size.
        centred: The published weights read images mapped to [-1, 1], into which torchvision converts inside the net.
        arguments: Further arguments of the constructor.
    """

    blocks: tuple[str, ...] = ()
    small: Small | None = None
    size: int = 224
    smallest: int = 8
    step: int = 1
    size_argument: str = ""
    centred: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


_NO_AUX = {"aux_logits": False, "init_weights": True}
LAYOUTS = {
    "alexnet": Layout(("MaxPool2d",), size=64, smallest=63),
    "convnext": Layout(("CNBlock",), Small(2, was=4, stride=2, smallest=16, first="features.0.0.weight"), smallest=32),
    "densenet": Layout(
        ("_DenseBlock",), Small(3, was=7, pool="features.pool0", first="features.conv0.weight"), smallest=29
    ),
    "efficientnet": Layout(("MBConv", "FusedMBConv"), Small(3, was=3)),
    "googlenet": Layout(
        ("Inception",),
        Small(3, was=7, pool="maxpool1", first="conv1.conv.weight"),
        smallest=15,
        centred=True,
        arguments=_NO_AUX,
    ),
    "inception": Layout(
        tuple(f"Inception{letter}" for letter in "ABCDE"), size=75, smallest=75, centred=True, arguments=_NO_AUX
    ),
    "maxvit": Layout(("MaxVitLayer",), step=224, smallest=224, size_argument="input_size"),
    "mnasnet": Layout(("_InvertedResidual",), Small(3, was=3)),
    "mobilenetv2": Layout(("InvertedResidual",), Small(3, was=3)),
    "mobilenetv3": Layout(("InvertedResidual",), Small(3, was=3)),
    "regnet": Layout(("ResBottleneckBlock",), Small(3, was=3)),
    "resnet": Layout(("BasicBlock", "Bottleneck"), Small(3, was=7, pool="maxpool", first="conv1.weight")),
    "shufflenetv2": Layout(("InvertedResidual",), Small(3, was=3, pool="maxpool")),
    "squeezenet": Layout(("Fire",), Small(3, was=3, pool="features.2"), smallest=17),
    "squeezenet1_0": Layout(("Fire",), Small(3, was=7, pool="features.2", first="features.0.weight"), smallest=21),
    "swin_transformer": Layout(
        ("SwinTransformerBlock", "SwinTransformerBlockV2"),
        Small(2, was=4, stride=2, first="features.0.0.weight"),
        smallest=16,
    ),
    "vgg": Layout(("MaxPool2d",), size=32, smallest=32),
    "vision_transformer": Layout(("EncoderBlock",), size_argument="image_size"),
}


def layout_of(model: Model) -> Layout:
    """Return the layout of a network, by its name, else by its source file; a new family gets the plain one."""
    return LAYOUTS.get(model.name) or LAYOUTS.get(model.file) or Layout()
