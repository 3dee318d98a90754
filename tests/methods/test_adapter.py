"""Bottleneck adapters: exact where they start, counted, reached once, taken out again, and as the library has them."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from small_nets import BODIES, TRANSFORMERS, images, small_net
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone, BodyParts, Sublayers
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.testing.contract import Case, Fitted, run
from tlbench.testing.fakes import CPU, fake_task
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.parameter_efficient.bottleneck_adapters import (
    AdaptedModule,
    AdapterDesign,
    Bottleneck,
    add_adapters,
    remove_adapters,
)

PLACEMENTS = ("houlsby", "pfeiffer", "parallel")
CASES = [(name, placement) for name in BODIES for placement in PLACEMENTS]


def _method() -> ModuleType:
    return registry.declaration("methods", "adapter").load()


def _design(placement: Any = "houlsby", reduction: int = 4, scale: float = 1.0) -> AdapterDesign:
    return AdapterDesign(placement, reduction, scale, "gelu")


def _adapt(backbone: Backbone, **design: Any) -> dict[str, AdaptedModule]:
    return add_adapters(backbone, images(), _design(**design), torch.Generator().manual_seed(2))


def _stir(added: dict[str, AdaptedModule]) -> None:
    """Give every tensor of every adapter a value other than its first."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in added.values():
            for p in each.adapter.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _fit(backbone: Backbone, **params: Any) -> tuple[Any, Context]:
    ctx = Context(random_root="adapter-test", device=CPU)
    config = _method().Config(**{"epochs": 2, "lr": 5e-3, "reduction": 4, **params})
    return _method().fit(fake_task("classification").task, backbone, config, ctx), ctx


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "placement"), CASES)
def test_it_starts_as_the_backbone_exactly_and_acts_once_trained(name: str, placement: str, training: bool) -> None:
    backbone, x = small_net(name).train(training), images()
    before = _state(backbone)
    expected = backbone(x)
    backbone.load_state_dict(before)  # batch statistics have moved
    added = _adapt(backbone, placement=placement)
    assert backbone.training is training
    assert torch.equal(backbone(x), expected)
    _stir(added)
    assert not torch.allclose(backbone(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "placement"), CASES)
def test_every_intended_site_is_reached_once(name: str, placement: str) -> None:
    backbone = small_net(name)
    if name in TRANSFORMERS:
        expected = [each.feed_forward for each in backbone.sublayers]
        expected += [each.attention for each in backbone.sublayers] if placement == "houlsby" else []
        assert len(expected) in (2, 4, 8)
    else:
        expected = backbone.blocks
    added = _adapt(backbone, placement=placement)
    assert sorted(added) == sorted(expected)
    calls = dict.fromkeys(added, 0)

    def count(module: nn.Module, args: Any, output: Any) -> None:
        calls[next(name for name, each in added.items() if each.adapter is module)] += 1

    for each in added.values():
        each.adapter.register_forward_hook(count)
    for training in (True, False):
        calls.update(dict.fromkeys(added, 0))
        with torch.set_grad_enabled(training):
            backbone.train(training)(images())
        assert set(calls.values()) == {1}


@pytest.mark.parametrize(("name", "placement"), CASES)
def test_at_the_start_only_the_upper_layer_has_a_gradient(name: str, placement: str) -> None:
    backbone = small_net(name).eval()
    added = _adapt(backbone, placement=placement)
    backbone(images()).square().sum().backward()
    for each in added.values():
        assert each.adapter.up.weight.grad.abs().max() > 0
        assert each.adapter.up.bias.grad.abs().max() > 0
        assert each.adapter.down.weight.grad.abs().max() == 0
        assert each.adapter.down.bias.grad.abs().max() == 0


@pytest.mark.parametrize("reduction", [4, 1000])
@pytest.mark.parametrize("name", BODIES)
def test_an_adapter_has_2dm_plus_d_plus_m_parameters(name: str, reduction: int) -> None:
    backbone = small_net(name)
    widths: dict[str, int] = {}

    def note(key: str) -> Any:
        return lambda module, args, output: widths.update({key: _width(output, name in TRANSFORMERS)})

    places = [part for each in backbone.sublayers for part in (each.attention, each.feed_forward)] or backbone.blocks
    handles = [backbone.body.get_submodule(key).register_forward_hook(note(key)) for key in places]
    backbone(images())
    for handle in handles:
        handle.remove()
    for key, each in _adapt(backbone, reduction=reduction).items():
        d = widths[key]
        m = max(1, d // reduction)
        assert sum(p.numel() for p in each.adapter.parameters()) == 2 * d * m + d + m
        convolution = isinstance(each.adapter.down, nn.Conv2d)
        assert convolution is (name not in TRANSFORMERS)


def _width(output: Any, last: bool) -> int:
    tensor = output[0] if isinstance(output, tuple) else output
    return tensor.shape[-1 if last else 1]


@pytest.mark.parametrize("name", BODIES)
def test_taking_adapters_out_restores_the_backbone_bit_for_bit(name: str) -> None:
    backbone = small_net(name).eval()
    given, names = _state(backbone), [key for key, _ in backbone.named_modules()]
    expected = backbone(images())
    added = _adapt(backbone)
    with pytest.raises(UserError, match="already"):
        _adapt(backbone)
    _stir(added)
    remove_adapters(backbone)
    assert [key for key, _ in backbone.named_modules()] == names
    after = _state(backbone)
    assert after.keys() == given.keys()
    assert all(torch.equal(after[key], given[key]) for key in given)
    assert torch.equal(backbone(images()), expected)


@pytest.mark.parametrize("name", BODIES)
def test_training_leaves_the_backbone_bit_identical_and_stores_what_is_new(name: str) -> None:
    backbone = small_net(name).float()
    given = _state(backbone)
    predictor, _ = _fit(backbone)
    trained = {key: p for key, p in predictor.module.named_parameters() if p.requires_grad}
    assert all(".adapter." in key or key.startswith("head.") for key in trained)
    new = sum(p.numel() for p in trained.values())
    assert predictor.footprint().trainable == new
    assert predictor.footprint().stored_bytes == 4 * new
    remove_adapters(backbone)
    after = _state(backbone)
    assert after.keys() == given.keys()
    assert all(torch.equal(after[key], given[key]) for key in given)


@pytest.mark.parametrize("name", ["resnet", "vit", "swin"])
def test_adapters_and_head_alone_reproduce_the_logits(name: str) -> None:
    backbone = small_net(name).float()
    fresh = copy.deepcopy(backbone)
    predictor, _ = _fit(backbone)
    kept = {key: p.detach().clone() for key, p in predictor.module.named_parameters() if p.requires_grad}
    assert 4 * sum(p.numel() for p in kept.values()) == predictor.footprint().stored_bytes
    other, _ = _fit(fresh, epochs=1, lr=1e-4)
    x = images(5)
    assert not torch.equal(other.logits(x), predictor.logits(x))
    missing, unexpected = other.module.load_state_dict(kept, strict=False)
    assert not unexpected
    assert not set(missing) & set(kept)
    assert torch.equal(other.logits(x), predictor.logits(x))


def test_statistics_that_move_are_stored() -> None:
    frozen, moving = (
        _fit(small_net("resnet").float(), norms=True, batch_norm=policy)[0] for policy in ("frozen", "train")
    )
    statistics = [b for key, b in moving.module.named_buffers() if "running" in key or "num_batches" in key]
    more = moving.footprint().stored_bytes - frozen.footprint().stored_bytes
    assert more == sum(b.numel() * b.element_size() for b in statistics) > 0


@pytest.mark.parametrize("name", BODIES)
def test_norms_trains_exactly_the_scales_and_shifts_of_normalisation(name: str) -> None:
    backbone = small_net(name).float()
    given = _state(backbone)
    owners = {key: module for key, module in backbone.named_modules() if "Norm" in type(module).__name__}
    expected = {f"{key}.{own}" for key, m in owners.items() for own, _ in m.named_parameters(recurse=False)}
    assert expected
    predictor, _ = _fit(backbone, norms=True)
    assert {id(p) for p in predictor.module.parameters() if p.requires_grad} >= {
        id(p) for m in owners.values() for p in m.parameters(recurse=False)
    }
    remove_adapters(backbone)
    after = _state(backbone)
    assert {key for key in given if not torch.equal(after[key], given[key])} <= expected
    assert any(not torch.equal(after[key], given[key]) for key in expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", BODIES)
def test_below_the_lowest_adapter_no_graph_is_recorded(name: str, placement: str) -> None:
    backbone = small_net(name).requires_grad_(False)
    added = _adapt(backbone, placement=placement)
    seen: list[tuple[bool, bool]] = []
    lowest = next(iter(added.values()))

    def look(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        needs = [t.requires_grad for t in (output if isinstance(output, tuple) else (output,)) if t is not None]
        seen.append((any(needs), any(a.requires_grad for a in args)))

    lowest.inner.register_forward_hook(look)
    backbone(images()).sum().backward()
    assert seen == [(False, False)]
    assert all(p.grad is not None for each in added.values() for p in each.adapter.parameters())


def test_what_it_adds_is_scale_times_the_bottleneck_by_hand() -> None:
    inner = nn.Linear(6, 6).double()
    adapter = Bottleneck(6, 6, 2, "relu", False, torch.Generator().manual_seed(0)).double()
    nn.init.normal_(adapter.up.weight)
    nn.init.normal_(adapter.up.bias)
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    h = inner(x)
    for parallel, read in ((False, h), (True, x)):
        hidden = (read @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
        expected = h + 4.0 * (hidden @ adapter.up.weight.T + adapter.up.bias)
        torch.testing.assert_close(AdaptedModule(inner, adapter, 4.0, parallel)(x), expected, rtol=1e-12, atol=1e-12)


class _Masked(nn.Module):
    """A text block's attention: called by keyword, with a mask, and answers with a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 4)

    def forward(self, hidden_states: Tensor, *, mask: Tensor) -> tuple[Tensor, str]:
        return self.proj(hidden_states) * mask, "weights"


class _TextBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn = _Masked()
        self.mlp = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        attended, weights = self.attn(hidden_states=x, mask=torch.tensor([1.0, 0.0, 1.0])[None, :, None])
        assert weights == "weights"
        x = x + attended
        return (x + self.mlp(x)).mean(1)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_keywords_masks_and_tuples_pass_through(placement: str) -> None:
    body = nn.Sequential(nn.Embedding(9, 4), _TextBlock())
    info = BackboneInfo("text", "none", "text", "text", {"weights": {"kind": "random"}})
    backbone = Backbone(info, nn.Identity(), body, 4, BodyParts([["0"], ["1"]], ["1"], [Sublayers("1.attn", "1.mlp")]))
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    expected = backbone(tokens)
    added = add_adapters(backbone, tokens, _design(placement), torch.Generator().manual_seed(0))
    assert torch.equal(backbone(tokens), expected)
    _stir(added)
    assert not torch.allclose(backbone(tokens), expected)


def test_a_backbone_without_blocks_is_refused_in_words() -> None:
    info = BackboneInfo("flat", "none", "image", "flat", {"weights": {"kind": "random"}})
    backbone = Backbone(info, nn.Identity(), nn.Linear(4, 4), 4, BodyParts([[""]], []))
    with pytest.raises(UserError, match="no block"):
        add_adapters(backbone, torch.zeros(2, 4), _design(), torch.Generator())


def test_initial_adapters_come_from_the_cells_seed_and_nothing_else() -> None:
    starts = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        starts.append([p for each in _adapt(small_net("vit")).values() for p in each.adapter.parameters()])
    assert all(torch.equal(p, q) for p, q in zip(*starts, strict=True))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_resumed_training_equals_an_uninterrupted_one_in_every_placement(placement: str, tmp_path: Path) -> None:
    def fit(**context: Any) -> Tensor:
        ctx = Context(random_root="adapter-test", device=CPU, **context)
        config = _method().Config(epochs=3, lr=5e-3, reduction=4, placement=placement)
        backbone = small_net("vit").float()
        return _method().fit(fake_task("classification").task, backbone, config, ctx).logits(images(4))

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise InterruptedError

    expected = fit()
    with pytest.raises(InterruptedError):
        fit(checkpoints=Checkpoints(tmp_path, interval=0.0), on_epoch=kill)
    assert torch.equal(fit(checkpoints=Checkpoints(tmp_path, interval=0.0)), expected)


def test_every_base_tensor_is_there_once_after_a_fit(tmp_path: Path) -> None:
    """One given tensor accounts for one of the module's: what is left of the module is what is new."""
    fitted: Fitted = run(Case("adapter", "classification"), tmp_path)
    given = list(fitted.given.parameters())
    new = 0
    for p in fitted.result.module.parameters():
        place = next((n for n, q in enumerate(given) if p.shape == q.shape and torch.equal(p, q)), None)
        if place is None:
            new += p.numel()
        else:
            given.pop(place)
    assert given == []
    assert fitted.result.footprint().trainable == new
    assert fitted.ctx.notes == ["no transformer blocks: one adapter behind each block, whatever the placement"]


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
def test_equals_the_library_on_a_vision_transformer(placement: str) -> None:
    """With the same weights in the same places; seen with adapters 1.3.0 on transformers 4.57.6.

    The library needs an older transformers than the development group has, so it wants an environment of its own:

    ``uv run --frozen --isolated --no-dev --with adapters --with pytest --with pytest-timeout python -m pytest
    tests/methods/test_adapter.py -k library``
    """
    adapters = pytest.importorskip("adapters")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    net = transformers.ViTModel(config, add_pooling_layer=False).double().eval()
    theirs = copy.deepcopy(net)
    adapters.init(theirs)
    names = {"houlsby": adapters.DoubleSeqBnConfig, "pfeiffer": adapters.SeqBnConfig}
    chosen = names[placement](reduction_factor=4, non_linearity="gelu", scaling=2.0, original_ln_before=False)
    theirs.add_adapter("a", config=chosen)
    theirs.set_active_adapters("a")
    theirs.double().eval()

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).last_hidden_state[:, 0]

    layers = [f"net.encoder.layer.{n}" for n in range(2)]
    pairs = [Sublayers(f"{each}.attention", f"{each}.output.dense") for each in layers]
    info = BackboneInfo("hf", "none", "image", "hf", {"weights": {"kind": "random"}})
    ours = Backbone(info, nn.Identity(), Body(), 32, BodyParts([["net"]], layers, pairs)).eval()
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    base = ours(x)
    added = add_adapters(ours, x, _design(placement, scale=2.0), torch.Generator().manual_seed(0))
    _stir(added)
    with torch.no_grad():
        for n in range(2):
            layer = theirs.encoder.layer[n]
            sites = {"output.dense": layer.output.output_adapters}
            sites |= {"attention": layer.attention_adapters} if placement == "houlsby" else {}
            for site, holder in sites.items():
                source, target = added[f"{layers[n]}.{site}"].adapter, holder.adapters["a"]
                target.adapter_down[0].load_state_dict(source.down.state_dict())
                target.adapter_up.load_state_dict(source.up.state_dict())
    count = sum(p.numel() for key, p in theirs.named_parameters() if "adapters.a." in key)
    assert count == sum(p.numel() for each in added.values() for p in each.adapter.parameters())
    found = ours(x)
    assert not torch.allclose(found, base)
    torch.testing.assert_close(found, theirs(x).last_hidden_state[:, 0], rtol=1e-12, atol=1e-12)
