"""Scaling and shifting: exact where it starts, merged without loss, at work wherever weights are read."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from small_nets import BODIES, images, small_net
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone, BodyParts
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, fake_task
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.scaling import Scaled, add_scales, merge_scales

NORMS = (nn.BatchNorm2d, nn.LayerNorm)


def _method() -> ModuleType:
    return registry.declaration("methods", "ssf").load()


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _stir(parameters: list[nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))


def _fit(backbone: Backbone, **params: Any) -> tuple[Any, Context]:
    ctx = Context(random_root="ssf-test", device=CPU)
    config = _method().Config(**{"epochs": 2, "lr": 1e-2, **params})
    return _method().fit(fake_task("classification").task, backbone, config, ctx), ctx


def _wrap(body: nn.Module) -> Backbone:
    info = BackboneInfo("hand", "none", "image", "hand", {"weights": {"kind": "random"}})
    return Backbone(info, nn.Identity(), body, 4, BodyParts([[name] for name, _ in body.named_children()], [])).double()


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", BODIES)
def test_it_starts_as_the_backbone_exactly(name: str, training: bool, gradients: bool) -> None:
    # Torch multiplies by a weight that requires gradients in another order, even where none are recorded.
    backbone, x = small_net(name).train(training).requires_grad_(gradients), images()
    before = _state(backbone)
    with torch.set_grad_enabled(gradients):
        expected = backbone(x)
        backbone.load_state_dict(before)  # batch statistics have moved
        added = add_scales(backbone, x, distributed=False)
        assert backbone.training is training
        assert torch.equal(backbone(x), expected)
        _stir(added)
        assert not torch.allclose(backbone(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", BODIES)
def test_every_layer_has_a_scale_and_a_shift_that_act(name: str) -> None:
    backbone = small_net(name).eval()
    sizes = []
    for module in backbone.body.modules():
        if isinstance(module, nn.MultiheadAttention):
            sizes.append(3 * module.embed_dim)
        elif isinstance(module, nn.Linear):
            sizes.append(module.out_features)
        elif isinstance(module, nn.Conv2d):
            sizes.append(module.out_channels)
        elif isinstance(module, NORMS):
            sizes.append(len(module.weight))
    added = add_scales(backbone, images(), distributed=False)
    assert sorted(p.numel() for p in added) == sorted(2 * sizes)
    _stir(added)
    backbone(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in added)


@pytest.mark.parametrize("name", BODIES)
def test_merging_reproduces_outputs_and_needs_no_scale(name: str) -> None:
    backbone, x = small_net(name).eval(), images()
    added = add_scales(backbone, x, distributed=False)
    _stir(added)
    trained = backbone(x)
    with torch.no_grad():
        evaluated = backbone(x)
    torch.testing.assert_close(evaluated, trained, rtol=1e-12, atol=1e-12)
    state = _state(backbone)
    merge_scales(backbone)
    assert backbone.state_dict().keys() == state.keys()
    with torch.no_grad():
        for p in added:
            p.fill_(torch.nan)
        assert torch.equal(backbone(x), evaluated)


@pytest.mark.parametrize("name", BODIES)
def test_a_plain_network_with_merged_weights_gives_the_same(name: str) -> None:
    backbone, x = small_net(name).eval(), images()
    plain = copy.deepcopy(backbone)
    _stir(add_scales(backbone, x, distributed=False))
    expected = backbone(x)
    own = dict(plain.body.named_modules())
    with torch.no_grad():
        for key, layer in backbone.body.named_modules():
            if isinstance(layer, Scaled):
                assert type(own[key]) is layer.plain
                for name in (layer.weight_name, layer.bias_name):
                    setattr(own[key], name, nn.Parameter(getattr(layer, name)))
    assert not any(isinstance(module, Scaled) for module in plain.modules())
    torch.testing.assert_close(plain(x), expected, rtol=1e-12, atol=1e-12)


def test_by_hand_it_is_gamma_times_the_layer_plus_beta() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5), nn.LayerNorm(5)]
    backbone = _wrap(nn.Sequential(*layers)).eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    plain = copy.deepcopy(backbone.body)
    _stir(add_scales(backbone, x, distributed=False))
    h = x
    for layer, scaled in zip(plain, backbone.body, strict=True):
        h = layer(h)
        if isinstance(scaled, Scaled):
            shape = (-1, 1, 1) if h.ndim == 4 else (-1,)
            h = scaled.gamma.view(shape) * h + scaled.beta.view(shape)
    torch.testing.assert_close(backbone(x), h, rtol=1e-12, atol=1e-12)


def test_the_encoder_layer_of_torch_in_training_and_on_its_fast_path() -> None:
    torch.manual_seed(0)

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).mean(1)

    backbone, x = _wrap(Body()), torch.randn(2, 3, 4, dtype=torch.float64)
    added = add_scales(backbone, x, distributed=False)
    assert len(added) == 2 * 6  # packed attention and its output, two linear layers, two normalisations
    _stir(added)
    expected = backbone.train()(x)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(x), expected, rtol=1e-12, atol=1e-12)
        merge_scales(backbone)
        torch.testing.assert_close(backbone(x), expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_scaled_outputs() -> None:
    torch.manual_seed(0)
    backbone = _wrap(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.LayerNorm(4)))
    x = torch.randn(3, 4, dtype=torch.float64)
    added = add_scales(backbone, x, distributed=False)
    _stir(added)
    assert torch.autograd.gradcheck(lambda *values: backbone(x), added)


def test_what_nothing_depends_on_is_left_out() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read = nn.Linear(4, 4)  # only the weight is read
            self.unused = nn.Linear(4, 4)
            self.rms = nn.RMSNorm(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.rms(nn.functional.linear(x, self.read.weight))

    backbone, x = _wrap(Body()), torch.randn(2, 4, dtype=torch.float64)
    added = add_scales(backbone, x, distributed=False)
    body = backbone.body
    assert {id(p) for p in added} == {id(body.read.gamma), id(body.rms.gamma)}
    assert type(body.unused) is nn.Linear
    assert [name for name, _ in body.named_parameters() if "unused" in name] == ["unused.weight", "unused.bias"]
    _stir(added)
    expected = backbone(x)
    merge_scales(backbone)
    torch.testing.assert_close(backbone(x), expected, rtol=1e-12, atol=1e-12)


def test_in_mixed_precision_a_small_change_of_gamma_is_not_rounded_away() -> None:
    torch.manual_seed(0)
    backbone = _wrap(nn.Sequential(nn.Linear(256, 4))).float()
    x = torch.randn(64, 256)
    gamma = add_scales(backbone, x, distributed=False)[0]
    with torch.autocast("cpu", torch.bfloat16):
        before = backbone(x)
        assert before.dtype == torch.bfloat16, "what follows would run on activations of twice the size"
        with torch.no_grad():
            gamma.add_(1e-3)  # a bfloat16 next to one is 0.0078 away
        assert not torch.equal(backbone(x), before)


@pytest.mark.parametrize("name", BODIES)
def test_training_leaves_the_backbone_bit_identical(name: str) -> None:
    backbone = small_net(name).float()
    given = _state(backbone)
    predictor, _ = _fit(backbone)
    after = _state(backbone)
    assert all(torch.equal(after[key], given[key]) for key in given)
    new = {key for key in after if key not in given}
    assert {key.rpartition(".")[2] for key in new} == {"gamma", "beta"}
    count = sum(after[key].numel() for key in new) + sum(p.numel() for p in predictor.module.head.parameters())
    assert predictor.footprint().trainable == count
    assert predictor.footprint().stored_bytes == 4 * count


def test_predictions_are_made_with_merged_weights() -> None:
    backbone, x = small_net("vit").float(), images(5)
    predictor, _ = _fit(backbone)
    expected = predictor.logits(x)
    with torch.no_grad():
        for layer in backbone.modules():
            if isinstance(layer, Scaled):
                layer.gamma.fill_(torch.nan)
                layer.beta.fill_(torch.nan)
    assert torch.equal(predictor.logits(x), expected)


@pytest.mark.parametrize("name", ["resnet", "swin"])
def test_scales_and_head_alone_reproduce_the_logits(name: str) -> None:
    """From the best epoch's scales, on a backbone that was given anew, before they are merged."""
    given, x = small_net(name).float(), images(5)
    fresh = copy.deepcopy(given)
    predictor, _ = _fit(given)
    kept = {key: p.detach().clone() for key, p in predictor.module.named_parameters() if p.requires_grad}
    add_scales(fresh, images(), distributed=False)
    other = copy.copy(predictor.module)
    other._modules = {**predictor.module._modules, "backbone": fresh}
    assert not other.load_state_dict(kept, strict=False).unexpected_keys
    with torch.no_grad():
        assert torch.equal(other.eval()(x), predictor.logits(x))


def test_statistics_move_only_where_asked_and_are_then_stored() -> None:
    sizes = {}
    for policy in ("frozen", "train"):
        backbone = small_net("resnet").float()
        before = {key: b.clone() for key, b in backbone.named_buffers()}
        sizes[policy] = _fit(backbone, batch_norm=policy)[0].footprint().stored_bytes
        now = dict(backbone.named_buffers())
        assert any(not torch.equal(now[key], before[key]) for key in before) is (policy == "train")
    statistics = [b for key, b in before.items() if "running" in key or "num_batches" in key]
    assert sizes["train"] - sizes["frozen"] == sum(b.numel() * b.element_size() for b in statistics)


def test_a_second_time_and_nothing_to_scale_are_refused_in_words() -> None:
    backbone = small_net("vit")
    add_scales(backbone, images(), distributed=False)
    with pytest.raises(UserError, match="already"):
        add_scales(backbone, images(), distributed=False)
    with pytest.raises(UserError, match="no layer"):
        add_scales(_wrap(nn.Sequential(nn.Tanh())), torch.zeros(2, 4), distributed=False)


def test_copies_are_independent() -> None:
    backbone, x = small_net("vit").eval(), images()
    add_scales(backbone, x, distributed=False)
    twin = copy.deepcopy(backbone)
    expected = backbone(x)
    _stir([p for key, p in twin.named_parameters() if key.endswith(("gamma", "beta"))])
    merge_scales(twin)
    assert not torch.allclose(twin(x), expected)
    assert torch.equal(backbone(x), expected)


def test_every_base_tensor_is_there_once_after_a_fit(tmp_path: Path) -> None:
    fitted = run(Case("ssf", "classification"), tmp_path)
    given = dict(fitted.given.named_parameters())
    now = dict(fitted.backbone.named_parameters())
    assert all(torch.equal(now[key], p) for key, p in given.items())
    new = sum(p.numel() for key, p in now.items() if key not in given)
    assert fitted.result.footprint().trainable == new + sum(p.numel() for p in fitted.result.module.head.parameters())
