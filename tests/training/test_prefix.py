"""The frozen bottom of a network, run once: the rest computes and learns what the whole network would."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "methods"))
from small_nets import BODIES, images, small_net

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import TrainingConfig
from tlbench.core.info import BackboneInfo
from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU
from tlbench.training import loop, prefix
from tlbench.training.batches import Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.groups import parameter_groups
from tlbench.training.loop import train_classifier
from tlbench.training.prefix import frozen_depth, keep_prefix


def _classifier(name: str, depth: int) -> Classifier:
    backbone = small_net(name)
    for group in backbone.group_parameters()[:depth]:
        for parameter in group:
            parameter.requires_grad_(False)
    model = Classifier(backbone, 3).double()
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(2))
    return model


def _split(count: int = 12) -> Split:
    return Split(images(count).numpy(), np.arange(count) % 3, np.arange(count))


def _cases() -> list[tuple[str, int]]:
    return [(name, depth) for name in BODIES for depth in range(1, len(small_net(name).layer_groups) + 1)]


@pytest.mark.parametrize(("name", "depth"), _cases())
def test_the_rest_answers_as_the_whole_network(name: str, depth: int) -> None:
    model, examples = _classifier(name, depth), Examples(_split(), CPU)
    assert frozen_depth(model.backbone) == depth
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kept = keep_prefix(model, [examples])
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


@pytest.mark.parametrize("name", BODIES)
def test_training_the_rest_equals_training_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, Tensor]] = []
    used: list[bool] = []
    for live in (False, True):
        model = _classifier(name, 1)

        def keep(*given: object, live: bool = live) -> object:
            found = None if live else keep_prefix(*given)  # type: ignore[arg-type]
            used.append(found is not None)
            return found

        monkeypatch.setattr(loop, "keep_prefix", keep)
        groups = parameter_groups([(model.parameters(), 1e-2)], 0.0)
        recipe = TrainingConfig(epochs=3, batch_size=4, optimizer="sgd")
        train_classifier(model, groups, _split(), _split(6), recipe, Context(cell="prefix", device=CPU))
        states.append(model.state_dict())
    assert used == [True, False]
    for key, value in states[0].items():
        torch.testing.assert_close({key: value}, {key: states[1][key]}, rtol=1e-7, atol=1e-9)
    assert not torch.equal(states[0]["head.weight"], _classifier(name, 1).head.weight)


def test_moved_images_are_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "keep_prefix", lambda *_: pytest.fail("each epoch sees other images"))
    model = _classifier("resnet", 1)
    recipe = TrainingConfig(epochs=1, augment="shift")
    groups = parameter_groups([(model.parameters(), 1e-2)], 0.0)
    train_classifier(model, groups, _split(), None, recipe, Context(cell="prefix", device=CPU))


def test_outputs_that_would_take_too_much_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "_LARGEST", 1000)
    assert keep_prefix(_classifier("resnet", 2), [Examples(_split(), CPU)]) is None


def test_a_network_with_nothing_frozen_is_left_alone() -> None:
    assert keep_prefix(_classifier("resnet", 0), [Examples(_split(), CPU)]) is None


class _Skipping(nn.Module):
    """Not a chain of its groups: what the first makes is used again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        bottom = self.first(x)
        return self.third(torch.tanh(self.second(bottom))) + bottom


@pytest.mark.parametrize(("depth", "chain"), [(1, True), (2, False)])
def test_a_network_that_is_no_chain_of_its_groups_is_told_by_its_answers(depth: int, chain: bool) -> None:
    info = BackboneInfo("skip", "test", "image", "skip", {"weights": {"kind": "random"}})
    backbone = Backbone(info, nn.Identity(), _Skipping(), 4, [["first"], ["second"], ["third"]], [])
    for group in backbone.group_parameters()[:depth]:
        for parameter in group:
            parameter.requires_grad_(False)
    model = Classifier(backbone, 2)
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    kept = keep_prefix(model, [Examples(Split(x, np.zeros(6, np.int64), np.arange(6)), CPU)])
    assert (kept is not None) is chain
