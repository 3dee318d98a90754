"""What layers with low-rank updates compute: values, gradients, dropout, and never the product in full."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from low_rank_nets import CASES, RANK, adapt, close, normal, own_weight, seeded, stir, updated_layers, wrap
from small_nets import images, small_net
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.utils._python_dispatch import TorchDispatchMode

from tlbench.training.parameter_efficient.low_rank import add_low_rank, merge_low_rank
from tlbench.training.parameter_efficient.low_rank_layers import LowRankDesign, WeightBlocks


@pytest.mark.parametrize("rslora", [False, True])
def test_by_hand(rslora: bool) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 4))
    x = normal(3, 2, 5)
    plain = copy.deepcopy(body).double()
    added = adapt(wrap(body), ("0",), x, rank=4, alpha=6.0, rslora=rslora)
    stir(added.parameters)
    a, b = added.parameters
    scale = 6 / 2 if rslora else 6 / 4
    close(body(x), plain[1](plain[0](x) + scale * (x @ a.T @ b.T)))
    assert type(body[1]) is nn.Linear


def test_the_update_doubles_with_alpha() -> None:
    moved = []
    for alpha in (3.0, 6.0):
        torch.manual_seed(0)
        body, x = nn.Sequential(nn.Linear(5, 4)), normal(3, 5)
        backbone = wrap(body)
        added = adapt(backbone, "all", x, alpha=alpha)
        before = backbone(x)
        stir(added.parameters)
        moved.append(backbone(x) - before)
    close(moved[1], 2 * moved[0])


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_a_plain_network_with_dense_weights_gives_the_same(name: str, targets: str) -> None:
    """The product in full, through code that has none of this package's layers."""
    backbone, x = small_net(name).eval(), images()
    plain = copy.deepcopy(backbone)
    stir(adapt(backbone, targets).parameters)
    with torch.no_grad():
        for key, layer in updated_layers(backbone).items():
            own = plain.body.get_submodule(key)
            assert type(own) is layer.plain
            weight = getattr(own, layer.weight_name)
            blocks = list(weight.flatten(1).chunk(layer.blocks.parts))
            halves = zip(layer.lora_a.split(RANK), layer.lora_b.chunk(len(layer.blocks.chosen)), strict=True)
            for part, (a, b) in zip(layer.blocks.chosen, halves, strict=True):
                blocks[part] = blocks[part] + 2 * b @ a
            weight.copy_(torch.cat(blocks).view_as(weight))
    for training in (False, True):
        close(backbone.train(training)(x), plain.train(training)(x))


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_no_update_has_a_larger_rank(name: str, targets: str) -> None:
    backbone = small_net(name)
    added = adapt(backbone, targets)
    stir(added.parameters)
    for layer in updated_layers(backbone).values():
        dense = (layer.effective_weight() - own_weight(layer)).flatten(1).detach()
        for part, block in enumerate(dense.chunk(layer.blocks.parts)):
            rank = torch.linalg.matrix_rank(block, rtol=1e-9)
            assert rank == (min(RANK, *block.shape) if part in layer.blocks.chosen else 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [WeightBlocks(), WeightBlocks(3, (0, 1, 2)), WeightBlocks(3, (0, 2))])
def test_gradients_are_those_of_finite_differences(rows: WeightBlocks, bias: bool) -> None:
    torch.manual_seed(0)
    backbone = wrap(nn.Sequential(nn.Tanh(), nn.Linear(4, 6, bias=bias), nn.Tanh()))
    x = normal(2, 3, 4).requires_grad_()
    added = add_low_rank(backbone, {"1": rows}, LowRankDesign(2, 3.0), x, seeded())
    stir(added.parameters)
    assert torch.autograd.gradcheck(lambda *values: backbone(x), (x, *added.parameters))


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("arguments", [{}, {"dilation": 2}, {"groups": 2}, {"groups": 4, "stride": (2, 1)}])
def test_a_convolution_is_one_with_a_dense_kernel(arguments: dict[str, Any], mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, (3, 2), padding=(2, 1), padding_mode=mode, **arguments)
    plain = copy.deepcopy(layer).double()
    backbone, x = wrap(nn.Sequential(layer)), normal(2, 4, 7, 6)
    added = adapt(backbone, "all", x)
    a, b = added.parameters
    stir([a, b])
    with torch.no_grad():
        plain.weight += 2 * torch.einsum("or,rikl->oikl", b, a.view(RANK, *plain.weight.shape[1:]))
    close(backbone(x), plain(x))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradients_of_convolutions_too(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1, dilation=2, groups=groups, padding_mode="circular")
    backbone = wrap(nn.Sequential(nn.Tanh(), layer, nn.Tanh()))
    x = normal(1, 4, 6, 5).requires_grad_()
    added = adapt(backbone, "all", x, rank=2)
    stir(added.parameters)
    assert torch.autograd.gradcheck(lambda *values: backbone(x), (x, *added.parameters))


def test_a_layer_that_computes_in_a_way_of_its_own_keeps_it() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return nn.functional.conv2d(x, weight, self.bias)

    torch.manual_seed(0)
    body, x = nn.Sequential(Standardised(3, 4, 2), nn.Flatten()), normal(2, 3, 2, 2)
    plain = copy.deepcopy(body[0]).double()
    added = adapt(wrap(body), "all", x)
    stir(added.parameters)
    a, b = added.parameters
    with torch.no_grad():
        plain.weight += 2 * (b @ a).view_as(plain.weight)
    close(body(x), plain(x).flatten(1))


class _Shapes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.made: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        fresh = isinstance(out, Tensor) and all(out is not each for each in args) and not out._is_view()
        if fresh and func.namespace == "aten" and "detach" not in func.__name__ and "t." not in func.__name__:
            self.made.add(tuple(out.shape))
        return out


def test_a_layer_that_is_called_never_makes_the_product() -> None:
    """Nor the gradient of the whole weight: nothing of its shape comes up in a training step."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 11, 5), nn.Flatten(2), nn.Linear(4, 7), nn.Linear(7, 13))
    backbone, x = wrap(body), normal(2, 3, 6, 6)
    adapt(backbone, "all", x, rank=2)
    with _Shapes() as shapes:
        backbone(x).sum().backward()
    assert (13, 2) in shapes.made  # the gradient of a B
    assert shapes.made.isdisjoint({(13, 7), (7, 13), (7, 4), (4, 7), (11, 3, 5, 5), (11, 75), (75, 11)})
    with _Shapes() as shapes:
        merge_low_rank(backbone)
    assert {(13, 7), (7, 4), (11, 75)} <= shapes.made


def test_dropout_acts_on_what_the_update_sees_and_in_training_only() -> None:
    torch.manual_seed(0)
    convolution, layer = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
    plain = nn.Sequential(copy.deepcopy(convolution), nn.Flatten(), copy.deepcopy(layer)).double()
    body = nn.Sequential(convolution, nn.Flatten(), layer)
    backbone, x = wrap(body), normal(2, 3, 3, 3)
    added = adapt(backbone, "all", x, dropout=0.5)
    stir(added.parameters)
    kernels = convolution.lora_a.view(-1, 3, 3, 3)
    torch.manual_seed(1)
    actual = backbone.train()(x)
    torch.manual_seed(1)
    inner = nn.functional.conv2d(dropout(x, 0.5), kernels)
    h = plain[0](x) + 2 * torch.einsum("or,brhw->bohw", convolution.lora_b, inner)
    h = plain[1](h)
    close(actual, plain[2](h) + 2 * dropout(h, 0.5) @ layer.lora_a.T @ layer.lora_b.T)
    assert torch.equal(backbone.eval()(x), backbone(x))
    torch.manual_seed(1)
    drawn = torch.autograd.grad(backbone.train()(x).sum(), added.parameters)
    torch.manual_seed(1)
    inner = nn.functional.conv2d(dropout(x, 0.5), kernels)
    h = plain[1](plain[0](x) + 2 * torch.einsum("or,brhw->bohw", convolution.lora_b, inner))
    y = plain[2](h) + 2 * dropout(h, 0.5) @ layer.lora_a.T @ layer.lora_b.T
    close(drawn, torch.autograd.grad(y.sum(), added.parameters))


def test_mixed_precision_rounds_values_and_keeps_parameters() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 16), nn.Linear(16, 4))
    backbone, x = wrap(body).float(), normal(8, 3, 3, 3).float()
    added = adapt(backbone, "all", x)
    stir(added.parameters)
    full = torch.autograd.grad(backbone(x).square().sum(), added.parameters)
    with torch.autocast("cpu", torch.bfloat16):
        y = backbone(x)
    assert y.dtype == torch.bfloat16
    close(y.float(), backbone(x), rtol=0.05, atol=0.05)
    rounded = torch.autograd.grad(y.float().square().sum(), added.parameters)
    for one, other in zip(full, rounded, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() < 0.05 * one.norm()
