"""Low-rank adaptation: exact where it starts, counted, as peft has it, merged and taken apart without loss."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from small_nets import BODIES, TRANSFORMERS, images, small_net
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from tlbench.backbones.backbone import Backbone, Sublayers
from tlbench.core import registry
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, fake_task
from tlbench.training.context import Context
from tlbench.training.efficient.low_rank import (
    Added,
    add_low_rank,
    load_low_rank_state,
    low_rank_state,
    merge_low_rank,
    remove_low_rank,
    unmerge_low_rank,
)
from tlbench.training.efficient.low_rank_layers import Design, LowRank, Rows

PRESETS = ("qv", "attention", "all_linear", "all")
CASES = [(name, targets) for name in BODIES for targets in PRESETS]
RANK = 3


def _method() -> ModuleType:
    return registry.declaration("methods", "lora").load()


def _generator(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _stir(parameters: list[nn.Parameter]) -> None:
    generator = _generator(3)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))


def _adapt(backbone: Backbone, targets: Any, x: Tensor | None = None, **design: Any) -> Added:
    sites, _ = _method().choose_layers(backbone, targets)
    settings = Design(**{"rank": RANK, "alpha": 6.0, **design})
    return add_low_rank(backbone, sites, settings, images() if x is None else x, _generator())


def _updated(backbone: Backbone) -> dict[str, Any]:
    return {name: layer for name, layer in backbone.body.named_modules() if isinstance(layer, LowRank)}


def _own(layer: Any) -> Tensor:
    """The weight as it was given."""
    return dict(layer.named_parameters(recurse=False))[layer.reads]


def _wrap(body: nn.Module, sublayers: tuple[Sublayers, ...] = ()) -> Backbone:
    info = BackboneInfo("hand", "none", "image", "hand", {"weights": {"kind": "random"}})
    groups = [[name] for name, _ in body.named_children()]
    return Backbone(info, nn.Identity(), body, 4, groups, [], sublayers).double()


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_generator(4), dtype=torch.float64)


def _close(actual: Any, expected: Any, **more: Any) -> None:
    torch.testing.assert_close(actual, expected, **{"rtol": 1e-10, "atol": 1e-12, **more})


def _fit(backbone: Backbone, **params: Any) -> tuple[Any, Context]:
    ctx = Context(cell="lora-test", device=CPU)
    config = _method().Config(**{"epochs": 2, "lr": 5e-3, "rank": RANK, **params})
    return _method().fit(fake_task("classification").task, backbone, config, ctx), ctx


# Where it starts, what acts, and how much of it there is


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "targets"), CASES)
def test_it_starts_as_the_backbone_exactly_and_acts_once_trained(name: str, targets: str, training: bool) -> None:
    backbone, x = small_net(name).train(training), images()
    before = _state(backbone)
    expected = backbone(x)
    backbone.load_state_dict(before)  # batch statistics have moved
    added = _adapt(backbone, targets)
    assert backbone.training is training
    # The projections of nn.MultiheadAttention lie elsewhere in memory then: some processors' kernels round differently.
    torch.testing.assert_close(backbone(x), expected, rtol=0, atol=1e-13 if name == "vit" else 0)
    _stir(added.parameters)
    assert not torch.allclose(backbone(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_at_the_start_every_b_has_a_gradient_and_no_a_has(name: str, targets: str) -> None:
    backbone = small_net(name).eval()
    added = _adapt(backbone, targets)
    assert added.idle == []
    features = backbone(images())
    features.backward(torch.randn(features.shape, generator=_generator(), dtype=features.dtype))
    layers = _updated(backbone)
    assert len(added.parameters) == 2 * len(layers)
    for key, layer in layers.items():
        assert layer.lora_a.grad is not None
        assert layer.lora_a.grad.count_nonzero() == 0, key
        for part in layer.lora_b.grad.chunk(len(layer.rows.chosen)):
            assert part.abs().max() > 0, key
    trained = {name for name, p in backbone.named_parameters() if p.grad is not None}
    assert trained == {f"body.{key}.{own}" for key in layers for own in ("lora_a", "lora_b")}


def test_presets_name_these_layers() -> None:
    vit, swin, swin_v2 = (small_net(name) for name in TRANSFORMERS)
    choose, inside = _method().choose_layers, "encoder.layers.encoder_layer_{}."
    attention = [f"{inside.format(block)}self_attention" for block in (0, 1)]
    outputs = [f"{name}.out_proj" for name in attention]
    perceptrons = [f"{inside.format(block)}mlp.{place}" for block in (0, 1) for place in (0, 3)]
    split, whole = Rows(3, (0, 1, 2)), Rows()
    assert choose(vit, "qv") == (dict.fromkeys(attention, Rows(3, (0, 2))), [])
    expected = dict.fromkeys(attention, split) | dict.fromkeys(outputs, whole)
    assert choose(vit, "attention") == (expected, [])
    expected |= dict.fromkeys(perceptrons, whole)
    assert choose(vit, "all_linear") == (expected, [])
    assert choose(vit, "all") == (expected | {"conv_proj": whole}, [])
    attention = [pair.attention for pair in swin.sublayers]
    assert choose(swin, "qv") == ({f"{name}.qkv": Rows(3, (0, 2)) for name in attention}, [])
    expected = {f"{name}.qkv": split for name in attention} | {f"{name}.proj": whole for name in attention}
    assert choose(swin, "attention") == (expected, [])
    # In Swin v2 the network of position biases is of the attention too.
    assert len(choose(swin_v2, "attention")[0]) == 4 * len(attention)


@pytest.mark.parametrize("targets", ["qv", "attention", "all_linear"])
def test_what_a_network_does_not_have_gives_way_to_the_next_wider_preset(targets: Any) -> None:
    resnet = small_net("resnet")
    sites, notes = _method().choose_layers(resnet, targets)
    convolutions = {name for name, module in resnet.body.named_modules() if isinstance(module, nn.Conv2d)}
    assert set(sites) == convolutions
    assert len(convolutions) == 17
    assert notes == [f"nothing for targets={targets}: all linear layers and convolutions are updated"]
    assert _method().choose_layers(resnet, "all") == (sites, [])


def test_query_and_value_by_name() -> None:
    class Attention(nn.Module):
        def __init__(self, **layers: nn.Module) -> None:
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

    def rows(attention: nn.Module) -> tuple[dict[str, Rows], int]:
        body = nn.ModuleDict({"attn": attention, "mlp": nn.Linear(4, 4)})
        sites, notes = _method().choose_layers(_wrap(body, (Sublayers("attn", "mlp"),)), "qv")
        return {name.removeprefix("attn."): found for name, found in sites.items()}, len(notes)

    def square() -> nn.Linear:
        return nn.Linear(4, 4)

    assert rows(Attention(qkv=nn.Linear(4, 12), proj=square())) == ({"qkv": Rows(3, (0, 2))}, 0)
    assert rows(Attention(q_proj=square(), k_proj=square(), v_proj=square())) == (
        {"q_proj": Rows(), "v_proj": Rows()},
        0,
    )
    assert rows(Attention(inner=Attention(query=square(), key=square(), value=square()))) == (
        {"inner.query": Rows(), "inner.value": Rows()},
        0,
    )
    assert rows(Attention(q=square(), kv=nn.Linear(4, 8), proj=square())) == ({"q": Rows(), "kv": Rows(2, (1,))}, 0)
    assert rows(Attention(qk=nn.Linear(4, 8), v=square())) == ({"qk": Rows(2, (0,)), "v": Rows()}, 0)
    assert rows(Attention(to_qkv=nn.Linear(4, 12), merge=square())) == ({"to_qkv": Rows(3, (0, 2))}, 0)
    # Parts of unequal size, and rows head by head: the packed layer is one matrix.
    assert rows(Attention(qkv=nn.Linear(4, 20))) == ({"qkv": Rows()}, 0)
    by_head = Attention(qkv=nn.Linear(4, 12))
    by_head.head_first = True
    assert rows(by_head) == ({"qkv": Rows()}, 0)
    assert rows(Attention(one=square(), other=square())) == ({"one": Rows(), "other": Rows()}, 1)


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_of_a_packed_projection_the_update_of_qv_leaves_the_keys(name: str) -> None:
    backbone = small_net(name).eval()
    _stir(_adapt(backbone, "qv").parameters)
    for layer in _updated(backbone).values():
        q, k, v = (layer.weight_now() - _own(layer)).chunk(3)
        assert k.count_nonzero() == 0
        assert q.abs().max() > 1e-3
        assert v.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_the_last_part_of_a_packed_projection_makes_the_values(name: str) -> None:
    """Without values an attention gives the same for every position."""
    backbone = small_net(name).eval()
    attention = backbone.sublayers[0].attention
    packed = attention if name == "vit" else f"{attention}.qkv"
    module = backbone.body.get_submodule(packed)
    with torch.no_grad():
        weight, bias = (module.in_proj_weight, module.in_proj_bias) if name == "vit" else (module.weight, module.bias)
        weight.chunk(3)[2].zero_()
        bias.chunk(3)[2].zero_()
    seen: list[Tensor] = []
    backbone.body.get_submodule(attention).register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    backbone(images())
    flat = seen[0].flatten(0, -2)
    _close(flat, flat[:1].expand_as(flat))


COUNTS = {
    # per block: query and value, or all four of 32 -> 32; then two layers of the perceptron; then 3 * 8 * 8 -> 32
    ("vit", "qv"): 2 * 2 * (32 + 32),
    ("vit", "attention"): 2 * 4 * (32 + 32),
    ("vit", "all_linear"): 2 * (4 * (32 + 32) + 2 * (32 + 64)),
    ("vit", "all"): 2 * (4 * (32 + 32) + 2 * (32 + 64)) + (192 + 32),
    # two blocks at width 16, two at 32
    ("swin", "qv"): 2 * 2 * (16 + 16) + 2 * 2 * (32 + 32),
    ("swin", "attention"): 2 * 4 * (16 + 16) + 2 * 4 * (32 + 32),
    # kernels 7 x 7 a channel (49 columns), 4 x 4 of 3 channels, 2 x 2 of 16
    ("convnext", "all_linear"): 2 * (16 + 64) + 2 * 2 * (32 + 128),
    ("convnext", "all"): 2 * (16 + 64) + 2 * 2 * (32 + 128) + (49 + 16) + 2 * (49 + 32) + (48 + 16) + (64 + 32),
}


@pytest.mark.parametrize("rank", [2, 5])
@pytest.mark.parametrize(("name", "targets"), COUNTS)
def test_an_update_has_r_times_inputs_plus_outputs_parameters(name: str, targets: str, rank: int) -> None:
    added = _adapt(small_net(name), targets, rank=rank)
    assert sum(p.numel() for p in added.parameters) == rank * COUNTS[name, targets]


def test_a_starts_uniform_within_one_over_the_root_of_the_columns() -> None:
    body = nn.Sequential(nn.Conv2d(4, 8, 5), nn.Flatten(), nn.Linear(8, 64), nn.Linear(64, 4))
    backbone = _wrap(body)
    _adapt(backbone, "all", _normal(2, 4, 5, 5), rank=200)
    for layer, columns in ((body[0], 100), (body[2], 8), (body[3], 64)):
        assert layer.lora_a.shape == (200, columns)
        scaled = layer.lora_a * columns**0.5
        assert scaled.abs().max() <= 1
        assert scaled.std().item() == pytest.approx(3**-0.5, rel=0.05)
        assert abs(scaled.mean().item()) < 0.05
        assert layer.lora_b.count_nonzero() == 0


def test_a_depends_on_the_given_generator_alone() -> None:
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        drawn.append(_adapt(small_net("swin"), "all").parameters)
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))


# What it computes


@pytest.mark.parametrize("rslora", [False, True])
def test_by_hand(rslora: bool) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 4))
    x = _normal(3, 2, 5)
    plain = copy.deepcopy(body).double()
    added = _adapt(_wrap(body), ("0",), x, rank=4, alpha=6.0, rslora=rslora)
    _stir(added.parameters)
    a, b = added.parameters
    scale = 6 / 2 if rslora else 6 / 4
    _close(body(x), plain[1](plain[0](x) + scale * (x @ a.T @ b.T)))
    assert type(body[1]) is nn.Linear


def test_the_update_doubles_with_alpha() -> None:
    moved = []
    for alpha in (3.0, 6.0):
        torch.manual_seed(0)
        body, x = nn.Sequential(nn.Linear(5, 4)), _normal(3, 5)
        backbone = _wrap(body)
        added = _adapt(backbone, "all", x, alpha=alpha)
        before = backbone(x)
        _stir(added.parameters)
        moved.append(backbone(x) - before)
    _close(moved[1], 2 * moved[0])


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_a_plain_network_with_dense_weights_gives_the_same(name: str, targets: str) -> None:
    """The product in full, through code that has none of this package's layers."""
    backbone, x = small_net(name).eval(), images()
    plain = copy.deepcopy(backbone)
    _stir(_adapt(backbone, targets).parameters)
    with torch.no_grad():
        for key, layer in _updated(backbone).items():
            own = plain.body.get_submodule(key)
            assert type(own) is layer.plain
            weight = getattr(own, layer.reads)
            blocks = list(weight.flatten(1).chunk(layer.rows.parts))
            halves = zip(layer.lora_a.split(RANK), layer.lora_b.chunk(len(layer.rows.chosen)), strict=True)
            for part, (a, b) in zip(layer.rows.chosen, halves, strict=True):
                blocks[part] = blocks[part] + 2 * b @ a
            weight.copy_(torch.cat(blocks).view_as(weight))
    for training in (False, True):
        _close(backbone.train(training)(x), plain.train(training)(x))


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_no_update_has_a_larger_rank(name: str, targets: str) -> None:
    backbone = small_net(name)
    added = _adapt(backbone, targets)
    _stir(added.parameters)
    for layer in _updated(backbone).values():
        dense = (layer.weight_now() - _own(layer)).flatten(1).detach()
        for part, block in enumerate(dense.chunk(layer.rows.parts)):
            rank = torch.linalg.matrix_rank(block, rtol=1e-9)
            assert rank == (min(RANK, *block.shape) if part in layer.rows.chosen else 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [Rows(), Rows(3, (0, 1, 2)), Rows(3, (0, 2))])
def test_gradients_are_those_of_finite_differences(rows: Rows, bias: bool) -> None:
    torch.manual_seed(0)
    backbone = _wrap(nn.Sequential(nn.Tanh(), nn.Linear(4, 6, bias=bias), nn.Tanh()))
    x = _normal(2, 3, 4).requires_grad_()
    added = add_low_rank(backbone, {"1": rows}, Design(2, 3.0), x, _generator())
    _stir(added.parameters)
    assert torch.autograd.gradcheck(lambda *values: backbone(x), (x, *added.parameters))


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("arguments", [{}, {"dilation": 2}, {"groups": 2}, {"groups": 4, "stride": (2, 1)}])
def test_a_convolution_is_one_with_a_dense_kernel(arguments: dict[str, Any], mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, (3, 2), padding=(2, 1), padding_mode=mode, **arguments)
    plain = copy.deepcopy(layer).double()
    backbone, x = _wrap(nn.Sequential(layer)), _normal(2, 4, 7, 6)
    added = _adapt(backbone, "all", x)
    a, b = added.parameters
    _stir([a, b])
    with torch.no_grad():
        plain.weight += 2 * torch.einsum("or,rikl->oikl", b, a.view(RANK, *plain.weight.shape[1:]))
    _close(backbone(x), plain(x))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradients_of_convolutions_too(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1, dilation=2, groups=groups, padding_mode="circular")
    backbone = _wrap(nn.Sequential(nn.Tanh(), layer, nn.Tanh()))
    x = _normal(1, 4, 6, 5).requires_grad_()
    added = _adapt(backbone, "all", x, rank=2)
    _stir(added.parameters)
    assert torch.autograd.gradcheck(lambda *values: backbone(x), (x, *added.parameters))


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
    backbone, x = _wrap(body), _normal(2, 3, 6, 6)
    _adapt(backbone, "all", x, rank=2)
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
    backbone, x = _wrap(body), _normal(2, 3, 3, 3)
    added = _adapt(backbone, "all", x, dropout=0.5)
    _stir(added.parameters)
    kernels = convolution.lora_a.view(-1, 3, 3, 3)
    torch.manual_seed(1)
    actual = backbone.train()(x)
    torch.manual_seed(1)
    inner = nn.functional.conv2d(dropout(x, 0.5), kernels)
    h = plain[0](x) + 2 * torch.einsum("or,brhw->bohw", convolution.lora_b, inner)
    h = plain[1](h)
    _close(actual, plain[2](h) + 2 * dropout(h, 0.5) @ layer.lora_a.T @ layer.lora_b.T)
    assert torch.equal(backbone.eval()(x), backbone(x))
    torch.manual_seed(1)
    drawn = torch.autograd.grad(backbone.train()(x).sum(), added.parameters)
    torch.manual_seed(1)
    inner = nn.functional.conv2d(dropout(x, 0.5), kernels)
    h = plain[1](plain[0](x) + 2 * torch.einsum("or,brhw->bohw", convolution.lora_b, inner))
    y = plain[2](h) + 2 * dropout(h, 0.5) @ layer.lora_a.T @ layer.lora_b.T
    _close(drawn, torch.autograd.grad(y.sum(), added.parameters))


def test_mixed_precision_rounds_values_and_keeps_parameters() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 16), nn.Linear(16, 4))
    backbone, x = _wrap(body).float(), _normal(8, 3, 3, 3).float()
    added = _adapt(backbone, "all", x)
    _stir(added.parameters)
    full = torch.autograd.grad(backbone(x).square().sum(), added.parameters)
    with torch.autocast("cpu", torch.bfloat16):
        y = backbone(x)
    assert y.dtype == torch.bfloat16
    _close(y.float(), backbone(x), rtol=0.05, atol=0.05)
    rounded = torch.autograd.grad(y.float().square().sum(), added.parameters)
    for one, other in zip(full, rounded, strict=True):
        assert other.dtype == torch.float32
        assert (one - other).norm() < 0.05 * one.norm()


# Attention


class _Calls(nn.Module):
    """Calls an attention on itself, as networks do."""

    def __init__(self, attention: nn.MultiheadAttention, **arguments: Any) -> None:
        super().__init__()
        self.attention = attention
        self.arguments = arguments

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, **{"need_weights": False, **self.arguments})[0]


B, L, D = 2, 5, 8
_PADDED = torch.arange(L)[None] >= torch.tensor([[5], [3]])
_CAUSAL = torch.ones(L, L).triu(1).bool()
MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "padding": {"key_padding_mask": _PADDED},
    "causal": {"attn_mask": _CAUSAL, "is_causal": True},
    "both": {"key_padding_mask": _PADDED, "attn_mask": _CAUSAL},
    "added": {"attn_mask": _normal(L, L), "key_padding_mask": _normal(B, L)},
    "by_head": {"attn_mask": _normal(2 * B, L, L)},
    "weights": {"need_weights": True, "key_padding_mask": _PADDED},
}


@pytest.mark.parametrize("targets", [("attention", "out_proj"), ("attention",), ("out_proj",)])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masks", MASKS)
def test_attention_is_that_of_torch_with_dense_weights(masks: str, batch_first: bool, targets: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(D, 2, batch_first=batch_first)
    nn.init.normal_(attention.in_proj_bias)
    nn.init.normal_(attention.out_proj.bias)
    backbone = _wrap(_Calls(attention, **MASKS[masks]))
    x = _normal(B, L, D) if batch_first else _normal(L, B, D)
    plain = copy.deepcopy(backbone)
    added = _adapt(backbone, targets, x)
    assert len(added.parameters) == 2 * len(targets)
    _close(backbone(x), plain(x))
    _stir(added.parameters)
    dense = plain.body.attention
    with torch.no_grad():
        for layer, own in ((attention, dense.in_proj_weight), (attention.out_proj, dense.out_proj.weight)):
            if isinstance(layer, LowRank):
                own += 2 * layer.lora_b @ layer.lora_a
    for training in (True, False):
        _close(backbone.train(training)(x), plain.train(training)(x))
    with torch.no_grad():  # where torch has a path of its own
        _close(backbone(x), plain(x))
        merge_low_rank(backbone)
        _close(backbone(x), plain(x))


def test_attention_that_torch_computes_reads_the_updated_weight() -> None:
    torch.manual_seed(0)

    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(D, 2, batch_first=True, add_bias_kv=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x.flip(1), x.flip(1), need_weights=False)[0]

    backbone, x = _wrap(Cross()), _normal(B, L, D)
    plain = copy.deepcopy(backbone)
    added = _adapt(backbone, ("attention",), x)
    _stir(added.parameters)
    layer = backbone.body.attention
    with torch.no_grad():
        plain.body.attention.in_proj_weight += 2 * layer.lora_b @ layer.lora_a
    y = backbone(x)
    _close(y, plain(x))
    assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(y.square().sum(), added.parameters))


@pytest.mark.parametrize("averaged", [True, False])
def test_attention_weights_are_given_where_they_are_wanted(averaged: bool) -> None:
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(D, 2, batch_first=True).double().eval(), _normal(B, L, D)
    plain = copy.deepcopy(attention)
    backbone = _wrap(_Calls(attention))
    added = _adapt(backbone, ("attention",), x)
    _stir(added.parameters)
    with torch.no_grad():
        plain.in_proj_weight += 2 * attention.lora_b @ attention.lora_a
    arguments = {"key_padding_mask": _PADDED, "average_attn_weights": averaged}
    output, weights = attention(x, x, x, **arguments)
    _close((output, weights), plain(x, x, x, **arguments))
    assert weights.shape == ((B, L, L) if averaged else (B, 2, L, L))


def test_dropout_of_attention_weights_stays() -> None:
    torch.manual_seed(0)
    backbone, x = _wrap(_Calls(nn.MultiheadAttention(D, 2, dropout=0.5, batch_first=True))), _normal(B, L, D)
    _adapt(backbone, ("attention",), x)
    assert not torch.equal(backbone.train()(x), backbone(x))
    assert torch.equal(backbone.eval()(x), backbone(x))


@pytest.mark.parametrize("masked", [False, True])
def test_the_encoder_layer_of_torch_in_training_and_on_its_fast_path(masked: bool) -> None:
    torch.manual_seed(0)

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(D, 2, 16, dropout=0.0, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, src_key_padding_mask=_PADDED if masked else None)[:, :3]

    backbone, x = _wrap(Body()), _normal(B, L, D)
    added = _adapt(backbone, "all_linear", x)
    assert len(added.parameters) == 2 * 4  # packed attention and its output, two linear layers
    _stir(added.parameters)
    expected = backbone.train()(x)
    gradients = torch.autograd.grad(expected.square().sum(), added.parameters)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    with torch.no_grad():
        _close(backbone.eval()(x), expected)
        merge_low_rank(backbone)
        _close(backbone(x), expected)


def test_a_layer_that_computes_in_a_way_of_its_own_keeps_it() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return nn.functional.conv2d(x, weight, self.bias)

    torch.manual_seed(0)
    body, x = nn.Sequential(Standardised(3, 4, 2), nn.Flatten()), _normal(2, 3, 2, 2)
    plain = copy.deepcopy(body[0]).double()
    added = _adapt(_wrap(body), "all", x)
    _stir(added.parameters)
    a, b = added.parameters
    with torch.no_grad():
        plain.weight += 2 * (b @ a).view_as(plain.weight)
    _close(body(x), plain(x).flatten(1))


# Merged, kept, copied and taken out


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_merging_gives_the_same_and_unmerging_restores_every_bit(name: str, targets: str) -> None:
    backbone, x = small_net(name).eval(), images()
    added = _adapt(backbone, targets)
    _stir(added.parameters)
    state, expected = _state(backbone), backbone(x)
    merge_low_rank(backbone)
    assert backbone.state_dict().keys() == state.keys()
    with torch.no_grad():
        kept = [p.clone() for p in added.parameters]
        for p in added.parameters:
            p.fill_(torch.nan)
        _close(backbone(x), expected)
        for p, value in zip(added.parameters, kept, strict=True):
            p.copy_(value)
    unmerge_low_rank(backbone)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    assert not any("merged" in key for key, _ in backbone.named_buffers())
    assert torch.equal(backbone(x), expected)


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_taken_out_again_the_backbone_is_the_base(name: str, targets: str) -> None:
    backbone, x = small_net(name).eval(), images()
    kinds = [type(module) for module in backbone.modules()]
    with torch.no_grad():
        base, expected = _state(backbone), backbone(x)
    _stir(_adapt(backbone, targets).parameters)
    merge_low_rank(backbone)
    remove_low_rank(backbone)
    assert [type(module) for module in backbone.modules()] == kinds
    assert {key: value.shape for key, value in backbone.state_dict().items()} == {k: v.shape for k, v in base.items()}
    assert all(torch.equal(value, base[key]) for key, value in backbone.state_dict().items())
    with torch.no_grad():
        assert torch.equal(backbone(x), expected)
    _adapt(backbone, targets)  # there is room again


def test_a_second_time_is_refused() -> None:
    backbone = small_net("vit")
    _adapt(backbone, "qv")
    with pytest.raises(UserError, match="has low-rank updates already"):
        _adapt(backbone, "attention")
    fresh = small_net("vit")
    _adapt(fresh, ("mlp.0",))
    with pytest.raises(UserError, match="has low-rank updates already"):
        add_low_rank(fresh, {}, Design(RANK, 1.0), images(), _generator())


@pytest.mark.parametrize("name", BODIES)
def test_a_and_b_are_all_that_must_be_kept(name: str) -> None:
    first, x = small_net(name).eval(), images()
    added = _adapt(first, "attention")
    _stir(added.parameters)
    kept = low_rank_state(first)
    assert sum(value.numel() for value in kept.values()) == sum(p.numel() for p in added.parameters)
    second = small_net(name).eval()
    _adapt(second, "attention")
    merge_low_rank(second)
    load_low_rank_state(second, kept)
    expected = first(x)
    assert torch.equal(second(x), expected)
    _stir(added.parameters)
    assert not torch.equal(first(x), expected)
    load_low_rank_state(second, kept)  # copies were kept
    assert torch.equal(second(x), expected)
    with pytest.raises(ValueError, match="not the updates of this backbone"):
        load_low_rank_state(second, dict(list(kept.items())[1:]))
    wider = {key: torch.zeros(99, 99) for key in kept}
    with pytest.raises(ValueError, match="other shapes"):
        load_low_rank_state(second, wider)


@pytest.mark.parametrize("name", BODIES)
def test_copies_do_not_hang_together(name: str) -> None:
    backbone, x = small_net(name).eval(), images()
    added = _adapt(backbone, "attention")
    _stir(added.parameters)
    expected = backbone(x)
    twin = copy.deepcopy(backbone)
    assert torch.equal(twin(x), expected)
    merge_low_rank(twin)
    assert torch.equal(backbone(x), expected)
    remove_low_rank(twin)
    assert torch.equal(backbone(x), expected)
    assert len(_updated(backbone)) == len(added.parameters) // 2
    late = copy.deepcopy(backbone)
    _stir(added.parameters)
    assert torch.equal(late(x), expected)


def test_what_nothing_depends_on_is_left_as_it_was() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.called, self.read, self.unused = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return linear(self.called(x), self.read.weight)

    backbone, x = _wrap(Body()), _normal(2, 4)
    added = _adapt(backbone, "all", x)
    assert (added.read, added.idle) == (["read"], ["unused"])
    assert type(backbone.body.unused) is nn.Linear
    assert [name for name, _ in backbone.body.named_parameters() if "unused" in name] == [
        "unused.weight",
        "unused.bias",
    ]
    assert len(added.parameters) == 4
    with pytest.raises(UserError, match="no layer for low-rank updates"):
        _adapt(_wrap(Body()), ("unused",), x)


# Targets by name


def test_patterns_name_the_end_of_a_module() -> None:
    vit, choose = small_net("vit"), _method().choose_layers
    blocks = [f"encoder.layers.encoder_layer_{block}" for block in (0, 1)]
    assert choose(vit, ("mlp.0",)) == ({f"{block}.mlp.0": Rows() for block in blocks}, [])
    assert choose(vit, ("self_attention", "conv_proj"))[0].keys() == {
        "conv_proj",
        *(f"{block}.self_attention" for block in blocks),
    }
    assert choose(vit, ("encoder_layer_1.*",))[0].keys() == {
        f"{blocks[1]}.{own}" for own in ("self_attention", "self_attention.out_proj", "mlp.0", "mlp.3")
    }
    assert choose(vit, ("*_1.mlp.[03]",))[0].keys() == {f"{blocks[1]}.mlp.{place}" for place in (0, 3)}
    assert choose(vit, ("*",))[0].keys() == choose(vit, "all")[0].keys()


def test_patterns_that_match_nothing_or_twice_are_refused() -> None:
    vit = small_net("vit")
    with pytest.raises(UserError, match=r"target 'mlp.1'[\s\S]*did you mean 'mlp\.[03]'"):
        _method().choose_layers(vit, ("mlp.0", "mlp.1"))
    with pytest.raises(UserError, match=r"target 'self_atention'[\s\S]*did you mean 'self_attention'"):
        _method().choose_layers(vit, ("self_atention",))
    with pytest.raises(UserError, match="matches the target 'roj'"):  # the end is that of a whole name
        _method().choose_layers(vit, ("roj",))
    with pytest.raises(UserError, match=r"'ln_1'"):  # a normalisation, which cannot be updated
        _method().choose_layers(vit, ("ln_1",))
    with pytest.raises(UserError, match=r"'mlp\.0' and 'encoder_layer_0\.\*' both match \S*encoder_layer_0\.mlp\.0"):
        _method().choose_layers(vit, ("mlp.0", "encoder_layer_0.*"))
    with pytest.raises(UserError, match=r"both match conv_proj"):
        _method().choose_layers(vit, ("conv_proj", "conv_proj"))


# Against peft


def _library(body: nn.Module, targets: list[str], rank: int, alpha: float, **more: Any) -> nn.Module:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, **more)
    return peft.get_peft_model(copy.deepcopy(body), config).double()


def _theirs(model: nn.Module) -> dict[str, nn.Module]:
    found = {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A") and len(layer.lora_A)}
    return {name.removeprefix("base_model.model.").replace(".base_layer", ""): layer for name, layer in found.items()}


@torch.no_grad()
def _copy_to(model: nn.Module, backbone: Backbone) -> int:
    theirs, ours = _theirs(model), _updated(backbone)
    assert theirs.keys() == ours.keys()
    for name, layer in ours.items():
        for key, value in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b)):
            weight = getattr(theirs[name], key)["default"].weight
            assert weight.numel() == value.numel()
            weight.copy_(value.view_as(weight))
    return len(ours)


def _agree(model: nn.Module, backbone: Backbone, added: Added, x: Tensor, places: int) -> None:
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == sum(p.numel() for p in added.parameters)
    _stir(added.parameters)
    with torch.no_grad():  # peft 0.21 adds the update of an attention's output twice
        for name, layer in _updated(backbone).items():
            layer.lora_b.mul_(0 if name.endswith("out_proj") else 1)
    assert _copy_to(model, backbone) == places
    for training in (True, False):
        _close(backbone.body.train(training)(x), model.train(training)(x))
    backbone.body(x).square().sum().backward()
    model(x).square().sum().backward()
    for name, layer in _theirs(model).items():
        own = _updated(backbone)[name]
        for key, value in (("lora_A", own.lora_a), ("lora_B", own.lora_b)):
            _close(value.grad, getattr(layer, key)["default"].weight.grad.view_as(value), rtol=1e-8)


@pytest.mark.parametrize("rslora", [False, True])
def test_linear_layers_and_convolutions_are_those_of_peft(rslora: bool) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, (3, 2), stride=2, padding=1)  # peft forgets dilation
    body = nn.Sequential(convolution, nn.Tanh(), nn.Conv2d(6, 5, 1, bias=False), nn.Flatten(), nn.Linear(60, 7))
    backbone, x = _wrap(body), _normal(2, 3, 8, 5)
    model = _library(body, ["0", "2", "4"], 4, 6.0, use_rslora=rslora)
    added = _adapt(backbone, ("0", "2", "4"), x, rank=4, rslora=rslora)
    _agree(model, backbone, added, x, 3)


def test_a_vision_transformer_of_timm_is_that_of_peft() -> None:
    transformers = pytest.importorskip("timm.models.vision_transformer")
    torch.manual_seed(0)
    body = transformers.VisionTransformer(32, 8, embed_dim=24, depth=2, num_heads=3, num_classes=0)
    backbone, x = _wrap(body), _normal(2, 3, 32, 32)
    names = ("qkv", "attn.proj", "fc1", "fc2")
    model = _library(body, list(names), RANK, 6.0)
    added = _adapt(backbone, names, x)
    _agree(model, backbone, added, x, 8)


def test_a_vision_transformer_of_torchvision_is_that_of_peft() -> None:
    backbone = small_net("vit")
    x = backbone.prepare(images())
    model = _library(backbone.body, ["self_attention", "mlp.0", "mlp.3", "conv_proj"], RANK, 6.0)
    names = ("self_attention", "self_attention.out_proj", "mlp.0", "mlp.3", "conv_proj")
    added = _adapt(backbone, names)
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
    body, x = nn.ModuleDict({"attn": Packed(), "mlp": nn.Linear(4, 4)}), _normal(B, L, D)
    body.forward = lambda value: body["attn"](value)
    backbone = _wrap(body, (Sublayers("attn", "mlp"),))
    model = _library(Separate(body["attn"].qkv), ["q", "v"], RANK, 6.0)
    added = _adapt(backbone, "qv", x)
    assert sum(p.numel() for p in added.parameters) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    _stir(added.parameters)
    layer, theirs = body["attn"].qkv, _theirs(model)
    with torch.no_grad():
        for name, a, b in zip("qv", layer.lora_a.chunk(2), layer.lora_b.chunk(2), strict=True):
            theirs[name].lora_A["default"].weight.copy_(a)
            theirs[name].lora_B["default"].weight.copy_(b)
    _close(backbone(x), model(x))


# The method


@pytest.mark.parametrize("targets", ["qv", "all", ["2.*", "1.*"]])
@pytest.mark.parametrize("name", ["swin", "vit", "resnet"])
def test_training_changes_only_updates_and_head(name: str, targets: Any) -> None:
    if isinstance(targets, list):
        targets = ["mlp.0", "out_proj"] if name == "vit" else ["qkv", "mlp.3"] if name == "swin" else ["layer4.*"]
    backbone = small_net(name).float()
    before = _state(backbone)
    predictor, _ = _fit(backbone, targets=targets)
    after = predictor.module.state_dict()
    for key, value in before.items():
        assert torch.equal(after[f"backbone.{key}"], value), key
    new = {key for key in after if key.removeprefix("backbone.") not in before}
    assert {key.rpartition(".")[2] for key in new if key.startswith("backbone")} == {"lora_a", "lora_b"}
    for key in new:
        assert after[key].abs().max() > 0, key
    assert {key for key in new if not key.startswith("backbone")} == {"head.weight", "head.bias"}
    footprint = predictor.footprint()
    assert footprint.trainable == sum(after[key].numel() for key in new)
    assert footprint.stored_bytes == 4 * footprint.trainable


@pytest.mark.parametrize("name", ["swin", "vit", "convnext"])
def test_predictions_come_from_merged_weights(name: str) -> None:
    backbone = small_net(name).float()
    predictor, _ = _fit(backbone, targets="all", rank=2)
    x = images(4)
    merged = predictor.logits(x)
    unmerge_low_rank(backbone)
    apart = predictor.logits(x)
    _close(merged, apart, rtol=1e-4, atol=1e-5)
    merge_low_rank(backbone)
    with torch.no_grad():
        for value in low_rank_state(backbone):
            backbone.body.get_parameter(value).fill_(torch.nan)
    assert torch.equal(predictor.logits(x), merged)


def test_the_factor_is_alpha_over_rank_whatever_the_rank() -> None:
    for rank in (2, 8):
        for params, factor in (({}, 1.0), ({"alpha_over_rank": 2.0}, 2.0), ({"rslora": True}, rank**0.5)):
            backbone = small_net("vit").float()
            _fit(backbone, rank=rank, epochs=1, **params)
            scales = [layer.design.scale for layer in _updated(backbone).values()]
            assert scales == pytest.approx([factor, factor])


def test_the_record_says_what_was_done_instead() -> None:
    _, ctx = _fit(small_net("resnet").float(), targets="attention", epochs=1)
    assert ctx.notes == ["nothing for targets=attention: all linear layers and convolutions are updated"]
    _, ctx = _fit(small_net("swin").float(), dropout=0.1, epochs=1)
    assert ctx.notes == ["no dropout before 4 of the updates, whose layers are read and not called"]
    _, ctx = _fit(small_net("vit").float(), dropout=0.1, epochs=1)
    assert ctx.notes == []


def test_patterns_reach_the_method(tmp_path: Path) -> None:
    fitted = run(Case("lora", "classification", params={"targets": ["block3.*"], "epochs": 3}), tmp_path)
    updated = {name.split(".")[0] for name in _updated(fitted.backbone)}
    assert updated == {"block3"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["packed", "separate", "module", "preset", "all_linear"])
def test_a_step_is_no_slower_than_that_of_peft(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import lora_step

    found = lora_step.measure(kind, count=1, batch=8, repeats=9, device=CPU)
    assert found["paired"][1] < 1
    assert found["initial_distance"]["tlbench"] < 1e-5
