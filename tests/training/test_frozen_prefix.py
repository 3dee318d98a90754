"""The frozen bottom of a network, run once: the rest computes and learns what the whole network would."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import EfficientNet, MobileNetV3
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig

sys.path.append(str(Path(__file__).parents[1] / "methods"))
from small_nets import BODIES, SIZE, images, small_net

from tlbench.backbones.backbone import Backbone, BodyParts, ImageInput, Prepare
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.layer_groups import find_blocks, layer_groups
from tlbench.core.config import TrainingConfig
from tlbench.core.info import BackboneInfo
from tlbench.data.dataset import Split
from tlbench.data.framing import Framing
from tlbench.testing.fakes import CPU
from tlbench.training import frozen_prefix as prefix
from tlbench.training import supervised_loop as loop
from tlbench.training.batches import Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.frozen_prefix import cache_prefix, frozen_depth
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import train_classifier


def _efficientnet() -> nn.Module:
    """Blocks of it are left out at random in training."""
    return EfficientNet(
        [MBConvConfig(1, 3, 1, 8, 8, 2), MBConvConfig(2, 3, 2, 8, 16, 2)],
        dropout=0.0,
        stochastic_depth_prob=0.4,
        last_channel=32,
    )


def _mobilenet() -> nn.Module:
    first = InvertedResidualConfig(8, 3, 8, 8, True, "RE", 1, 1, 1.0)
    second = InvertedResidualConfig(8, 3, 16, 16, False, "HS", 2, 1, 1.0)
    return MobileNetV3([first, second], 32, dropout=0.0)


MOBILE: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "efficientnet": (_efficientnet, "MBConv", 32),
    "mobilenet_v3": (_mobilenet, "InvertedResidual", 96),
}
NETS = (*BODIES, *MOBILE, "conv4")


def _backbone(name: str) -> Backbone:
    if name in BODIES:
        return small_net(name)
    if name == "conv4":
        recipe = {"width": 8, "image_size": SIZE, "channels": 3}
        return build(describe("conv4", recipe, {"kind": "random"}), 0, None).double()
    make, kind, width = MOBILE[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = make()
    body.classifier = nn.Identity()
    info = BackboneInfo(name, "torchvision", "image", name, {"weights": {"kind": "random"}})
    prepare = Prepare(ImageInput(Framing(SIZE, SIZE), 3, (0.5,) * 3, (0.5,) * 3))
    groups, blocks = layer_groups(body, {kind}), find_blocks(body, {kind})
    return Backbone(info, prepare, body, width, BodyParts(groups, blocks)).double()


def _freeze(backbone: Backbone, depth: int) -> None:
    for group in backbone.group_parameters()[:depth]:
        for parameter in group:
            parameter.requires_grad_(False)


def _classifier(name: str, depth: int) -> Classifier:
    backbone = _backbone(name)
    _freeze(backbone, depth)
    model = Classifier(backbone, 3).double()
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(2))
    return model


def _split(count: int = 12) -> Split:
    return Split(images(count).numpy(), np.arange(count) % 3, np.arange(count))


def _cases() -> list[tuple[str, int]]:
    return [(name, depth) for name in NETS for depth in range(1, len(_backbone(name).layer_groups) + 1)]


@pytest.mark.parametrize(("name", "depth"), _cases())
def test_the_rest_answers_as_the_whole_network(name: str, depth: int) -> None:
    model, examples = _classifier(name, depth), Examples(_split(), CPU)
    assert frozen_depth(model.backbone) == depth
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kept = cache_prefix(model, [examples])
    assert kept is not None, "all these networks are chains of their layer groups"
    rest, (short,) = kept
    z, y = short.take(torch.arange(5, 9))
    x, expected = examples.take(torch.arange(5, 9))
    torch.testing.assert_close(rest(z), model(x), rtol=1e-10, atol=1e-10)
    assert torch.equal(y, expected)
    assert len(short) == 12
    assert not any(module._forward_hooks for module in model.modules()), "no hook is left behind"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in rest.parameters() if p.requires_grad} == trainable
    modules = dict(model.backbone.body.named_modules())
    left_out = [modules[name] for group in model.backbone.layer_groups[:depth] for name in group if name in modules]
    gone = {id(p) for module in left_out for p in module.parameters()}
    assert gone.isdisjoint(id(p) for p in rest.parameters()), "what is left out is not held"


@pytest.mark.parametrize("name", NETS)
def test_training_the_rest_equals_training_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, Tensor]] = []
    used: list[bool] = []
    for live in (False, True):
        model = _classifier(name, 1)

        def keep(*given: object, live: bool = live) -> object:
            found = None if live else cache_prefix(*given)  # type: ignore[arg-type]
            used.append(found is not None)
            return found

        monkeypatch.setattr(loop, "cache_prefix", keep)
        groups = parameter_groups([(model.parameters(), 1e-2)], 0.0)
        recipe = TrainingConfig(epochs=3, batch_size=4, optimizer="sgd", augment="none")
        train_classifier(model, groups, _split(), _split(6), recipe, Context(random_root="prefix", device=CPU))
        states.append(model.state_dict())
    assert used == [True, False]
    for key, value in states[0].items():
        torch.testing.assert_close({key: value}, {key: states[1][key]}, rtol=1e-7, atol=1e-9)
    assert not torch.equal(states[0]["head.weight"], _classifier(name, 1).head.weight)


def test_moved_images_are_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "cache_prefix", lambda *_: pytest.fail("each epoch sees other images"))
    model = _classifier("resnet", 1)
    recipe = TrainingConfig(epochs=1, augment="shift")
    groups = parameter_groups([(model.parameters(), 1e-2)], 0.0)
    train_classifier(model, groups, _split(), None, recipe, Context(random_root="prefix", device=CPU))


def test_kept_maps_are_not_moved_as_if_they_were_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is no image, so it is not moved; what the frozen group makes of it has three axes."""
    body = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1), nn.Flatten())
    info = BackboneInfo("rows", "test", "rows", "rows", {"weights": {"kind": "random"}})
    backbone = Backbone(info, nn.Identity(), body, 48, BodyParts([["1"], ["2"]], []))
    _freeze(backbone, 1)
    model = Classifier(backbone, 3)
    seen: list[Tensor] = []
    body[2].register_forward_hook(lambda module, args, out: seen.append(args[0].clone()) if module.training else None)
    x = np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)
    groups = parameter_groups([(model.parameters(), 1e-2)], 0.0)
    recipe = TrainingConfig(epochs=1, batch_size=6, augment="shift")
    train_classifier(model, groups, Split(x, np.arange(6) % 3, np.arange(6)), None, recipe, Context("prefix", CPU))
    expected = body[:2](torch.from_numpy(x)).detach()
    assert len(seen) == 1
    torch.testing.assert_close(seen[0].sum(0), expected.sum(0))


def test_frozen_groups_that_run_in_every_epoch_run_in_evaluation_mode() -> None:
    """Blocks of this network are left out at random in training mode; moved images keep its prefix from the cache."""
    model = _classifier("efficientnet", 2)
    frozen = prefix.frozen_modules(model.backbone, 2)
    modes: list[bool] = []
    for module in frozen.values():
        module.register_forward_hook(lambda module, args, out: modes.append(module.training))
    recipe = TrainingConfig(epochs=1, augment="shift")
    groups = parameter_groups([(model.parameters(), 1e-2)], 0.0)
    train_classifier(model, groups, _split(), None, recipe, Context(random_root="prefix", device=CPU))
    assert modes
    assert not any(modes)


def test_an_output_that_is_changed_in_place_later_is_kept_as_it_was() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.5, inplace=True), nn.Conv2d(4, 2, 3), nn.Flatten())
    info = BackboneInfo("changing", "test", "image", "changing", {"weights": {"kind": "random"}})
    width = 2 * (SIZE - 4) ** 2
    backbone = Backbone(info, nn.Identity(), body, width, BodyParts([["0"], ["2"]], []))
    _freeze(backbone, 1)
    x = torch.randn(6, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    kept = cache_prefix(Classifier(backbone, 3), [Examples(Split(x.numpy(), np.arange(6) % 3, np.arange(6)), CPU)])
    assert kept is not None
    _, (outputs,) = kept
    torch.testing.assert_close(outputs.take(torch.arange(6))[0], body[0](x).detach())


def test_outputs_that_would_take_too_much_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "_MAX_BYTES", 1000)
    assert cache_prefix(_classifier("resnet", 2), [Examples(_split(), CPU)]) is None


def test_a_network_with_nothing_frozen_is_left_alone() -> None:
    assert cache_prefix(_classifier("resnet", 0), [Examples(_split(), CPU)]) is None


class _Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.beside = nn.Parameter(torch.zeros(4))


class _Skipping(_Layers):
    """What the first makes is used again at the end."""

    def forward(self, x: Tensor) -> Tensor:
        bottom = self.first(x)
        return self.third(torch.tanh(self.second(bottom))) + bottom


class _Gated(_Layers):
    """As above, but the gate is still shut."""

    def forward(self, x: Tensor) -> Tensor:
        bottom = self.first(x)
        return self.third(torch.tanh(self.second(bottom))) + self.beside * bottom


class _Masked(_Layers):
    """The end looks at the inputs: where all are there, the mask is the same for every example."""

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.first(x))) * (x != 0)


class _Prompted(_Layers):
    """What is trained stands beside the layer groups, and still has no effect."""

    def forward(self, x: Tensor) -> Tensor:
        return self.third(torch.tanh(self.second(self.first(x) + self.beside)))


class _Swapped(_Layers):
    """The last of the groups acts first."""

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.third(x)))


class _Chosen(_Layers):
    """The first cannot be run without its inputs."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.any(1).all():
            raise ValueError("no inputs")
        return self.third(self.second(self.first(x)))


class _Twice(_Layers):
    """The second acts two times."""

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.second(self.first(x))))


@pytest.mark.parametrize(
    ("body", "depth", "kept"),
    [
        (_Skipping, 1, True),
        (_Skipping, 2, False),
        (_Skipping, 3, True),
        (_Gated, 2, False),
        (_Masked, 1, False),
        (_Prompted, 1, True),
        (_Prompted, 2, False),
        (_Prompted, 3, False),
        (_Swapped, 2, False),
        (_Chosen, 2, False),
        (_Twice, 1, True),
        (_Twice, 2, False),
        (_Twice, 3, True),
    ],
)
def test_only_a_chain_of_layer_groups_is_cut(body: type[_Layers], depth: int, kept: bool) -> None:
    """Not even where the head is still zero, so that the logits tell nothing."""
    torch.manual_seed(0)
    info = BackboneInfo("layers", "test", "rows", "layers", {"weights": {"kind": "random"}})
    backbone = Backbone(info, nn.Identity(), body(), 4, BodyParts([["first"], ["second"], ["third"]], []))
    _freeze(backbone, depth)
    model = Classifier(backbone, 2)
    assert not model.head.weight.any()
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    found = cache_prefix(model, [Examples(Split(x, np.zeros(6, np.int64), np.arange(6)), CPU)])
    assert (found is not None) is kept


def test_a_frozen_group_of_bare_parameters_is_not_cut_off() -> None:
    body = _Prompted()
    info = BackboneInfo("layers", "test", "rows", "layers", {"weights": {"kind": "random"}})
    backbone = Backbone(info, nn.Identity(), body, 4, BodyParts([["beside"], ["first", "second", "third"]], []))
    _freeze(backbone, 1)
    x = Split(np.ones((6, 4), np.float32), np.zeros(6, np.int64), np.arange(6))
    assert cache_prefix(Classifier(backbone, 2), [Examples(x, CPU)]) is None
