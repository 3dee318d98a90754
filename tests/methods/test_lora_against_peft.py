"""Low-rank updates against those of the library peft: values, gradients and counts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from low_rank_nets import RANK, adapt, close, normal, stir, updated_layers, wrap
from small_nets import images, small_net
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tlbench.backbones.backbone import Backbone, Sublayers
from tlbench.training.parameter_efficient.low_rank import AddedUpdates

B, L, D = 2, 5, 8


def _library(body: nn.Module, targets: list[str], rank: int, alpha: float, **more: Any) -> nn.Module:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, **more)
    return peft.get_peft_model(copy.deepcopy(body), config).double()


def _theirs(model: nn.Module) -> dict[str, nn.Module]:
    found = {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A") and len(layer.lora_A)}
    return {name.removeprefix("base_model.model.").replace(".base_layer", ""): layer for name, layer in found.items()}


@torch.no_grad()
def _copy_to(model: nn.Module, backbone: Backbone) -> int:
    theirs, ours = _theirs(model), updated_layers(backbone)
    assert theirs.keys() == ours.keys()
    for name, layer in ours.items():
        for key, value in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b)):
            weight = getattr(theirs[name], key)["default"].weight
            assert weight.numel() == value.numel()
            weight.copy_(value.view_as(weight))
    return len(ours)


def _agree(model: nn.Module, backbone: Backbone, added: AddedUpdates, x: Tensor, places: int) -> None:
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == sum(p.numel() for p in added.parameters)
    stir(added.parameters)
    with torch.no_grad():  # peft 0.21 adds the update of an attention's output twice
        for name, layer in updated_layers(backbone).items():
            layer.lora_b.mul_(0 if name.endswith("out_proj") else 1)
    assert _copy_to(model, backbone) == places
    for training in (True, False):
        close(backbone.body.train(training)(x), model.train(training)(x))
    backbone.body(x).square().sum().backward()
    model(x).square().sum().backward()
    for name, layer in _theirs(model).items():
        own = updated_layers(backbone)[name]
        for key, value in (("lora_A", own.lora_a), ("lora_B", own.lora_b)):
            close(value.grad, getattr(layer, key)["default"].weight.grad.view_as(value), rtol=1e-8)


@pytest.mark.parametrize("rslora", [False, True])
def test_linear_layers_and_convolutions_are_those_of_peft(rslora: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, (3, 2), stride=2, padding=1)  # peft forgets dilation
    body = nn.Sequential(convolution, nn.Tanh(), nn.Conv2d(6, 5, 1, bias=False), nn.Flatten(), nn.Linear(60, 7))
    backbone, x = wrap(body), normal(2, 3, 8, 5)
    model = _library(body, ["0", "2", "4"], 4, 6.0, use_rslora=rslora)
    added = adapt(backbone, ("0", "2", "4"), x, rank=4, rslora=rslora)
    _agree(model, backbone, added, x, 3)


def test_a_vision_transformer_of_timm_is_that_of_peft() -> None:
    transformers = pytest.importorskip("timm.models.vision_transformer")
    torch.manual_seed(0)
    body = transformers.VisionTransformer(32, 8, embed_dim=24, depth=2, num_heads=3, num_classes=0)
    backbone, x = wrap(body), normal(2, 3, 32, 32)
    names = ("qkv", "attn.proj", "fc1", "fc2")
    model = _library(body, list(names), RANK, 6.0)
    added = adapt(backbone, names, x)
    _agree(model, backbone, added, x, 8)


def test_a_vision_transformer_of_torchvision_is_that_of_peft() -> None:
    backbone = small_net("vit")
    x = backbone.prepare(images())
    model = _library(backbone.body, ["self_attention", "mlp.0", "mlp.3", "conv_proj"], RANK, 6.0)
    names = ("self_attention", "self_attention.out_proj", "mlp.0", "mlp.3", "conv_proj")
    added = adapt(backbone, names)
    _agree(model, backbone, added, x, 9)


def test_parts_of_a_packed_projection_are_separate_layers_of_peft() -> None:
    class Separate(nn.Module):
        def __init__(self, qkv: nn.Linear) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(D, D) for _ in range(3))
            for layer, weight, bias in zip(
                (self.q, self.k, self.v), qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True
            ):
                layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

        def forward(self, x: Tensor) -> Tensor:
            return scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(D, 3 * D)

        def forward(self, x: Tensor) -> Tensor:
            return scaled_dot_product_attention(*self.qkv(x).chunk(3, -1))

    torch.manual_seed(0)
    body, x = nn.ModuleDict({"attn": Packed(), "mlp": nn.Linear(4, 4)}), normal(B, L, D)
    body.forward = lambda value: body["attn"](value)
    backbone = wrap(body, (Sublayers("attn", "mlp"),))
    model = _library(Separate(body["attn"].qkv), ["q", "v"], RANK, 6.0)
    added = adapt(backbone, "qv", x)
    assert sum(p.numel() for p in added.parameters) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    stir(added.parameters)
    layer, theirs = body["attn"].qkv, _theirs(model)
    with torch.no_grad():
        for name, a, b in zip("qv", layer.lora_a.chunk(2), layer.lora_b.chunk(2), strict=True):
            theirs[name].lora_A["default"].weight.copy_(a)
            theirs[name].lora_B["default"].weight.copy_(b)
    close(backbone(x), model(x))
