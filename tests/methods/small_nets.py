"""Networks of torchvision's classes with a few thousand parameters, in double precision, and a task for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from tlbench.backbones.backbone import Backbone, BodyParts, ImageInput, Prepare, find_sublayers
from tlbench.backbones.layer_groups import find_blocks, layer_groups
from tlbench.core.info import BackboneInfo
from tlbench.data.framing import Framing

SIZE = 32
KINDS = {"Bottleneck", "CNBlock", "EncoderBlock", "SwinTransformerBlock", "SwinTransformerBlockV2"}
WIDTHS = {"resnet": 2048, "convnext": 32, "vit": 32, "swin": 32, "swin_v2": 32}


def _swin(**more: object) -> nn.Module:
    return models.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, **more)


BODIES: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=4),
    "convnext": lambda: models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)]),
    "vit": lambda: models.VisionTransformer(SIZE, 8, 2, 2, 32, 64),
    "swin": _swin,
    "swin_v2": lambda: _swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
}
TRANSFORMERS = ("vit", "swin", "swin_v2")


def small_net(name: str) -> Backbone:
    """Return a network whose every tensor, running statistics too, is random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = BODIES[name]()
        head = {"resnet": "fc", "convnext": "classifier", "vit": "heads"}.get(name, "head")
        if name == "convnext":
            body.classifier[2] = nn.Identity()
        else:
            setattr(body, head, nn.Identity())
        with torch.no_grad():
            for tensor in body.parameters():
                tensor.add_(0.05 * torch.randn(tensor.shape))
            for key, tensor in body.named_buffers():
                if "running" in key:
                    tensor.add_(0.1 * torch.rand(tensor.shape))
    info = BackboneInfo(name, "torchvision", "image", name, {"name": name, "weights": {"kind": "random"}})
    prepare = Prepare(ImageInput(Framing(SIZE, SIZE), 3, (0.5,) * 3, (0.5,) * 3))
    groups, blocks = layer_groups(body, KINDS), find_blocks(body, KINDS)
    return Backbone(info, prepare, body, WIDTHS[name], BodyParts(groups, blocks, find_sublayers(body))).double()


def images(count: int = 2) -> Tensor:
    """Return raw images."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
