"""Discriminative learning rates: direction, ratio and cover of the rates, and what a decay of one is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from small_nets import BODIES, small_net

from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.parameter_groups import check_coverage

METHOD = registry.declaration("methods", "discriminative_lr").load()


def _rates(monkeypatch: pytest.MonkeyPatch, backbone: Any, **params: Any) -> tuple[Any, dict[int, float]]:
    found: dict[str, Any] = {}

    def note(model: Any, groups: list[dict[str, Any]], *rest: Any, **more: Any) -> None:
        check_coverage(model, groups)
        found.update(model=model, rates={id(p): group["lr"] for group in groups for p in group["params"]})

    monkeypatch.setattr(METHOD, "train_classifier", note)
    METHOD.fit(
        fake_task("classification").task, backbone, METHOD.Config(**params), Context(random_root="rates", device=CPU)
    )
    return found["model"], found["rates"]


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_rates_rise_from_stem_to_top_by_the_same_factor(
    monkeypatch: pytest.MonkeyPatch, name: str, granularity: str
) -> None:
    model, rates = _rates(monkeypatch, small_net(name), lr=0.1, decay=0.5, granularity=granularity)
    backbone = model.backbone
    layers = backbone.group_parameters() if granularity == "stage" else backbone.fine_groups()
    *of_layer, of_head = [{rates[id(p)] for p in group} for group in [*layers, list(model.head.parameters())]]
    assert all(len(found) == 1 for found in of_layer), "one rate a layer, weights and biases alike"
    values = [found.pop() for found in of_layer]
    assert values[-1] == 0.1
    assert of_head == {0.1 * 3.0}
    assert all(low / high == 0.5 for low, high in pairwise(values))
    stem = next(p for p in backbone.body.parameters() if p.ndim == 4)
    assert rates[id(stem)] == min(values), "the first convolution learns slowest"


def test_by_default_four_layers_have_the_factor_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rates = _rates(monkeypatch, fake_backbone())
    of_layer = [rates[id(group[0])] for group in model.backbone.group_parameters()]
    assert len(of_layer) == 4
    assert [high / low for low, high in pairwise(of_layer)] == pytest.approx([2.6] * 3)


@pytest.mark.parametrize("layers", [2, 5, 13])
def test_a_network_of_any_depth_has_the_same_range_of_rates(layers: int) -> None:
    assert METHOD.usual_decay(layers) ** (layers - 1) == pytest.approx(2.6**-3)
    assert METHOD.usual_decay(1) > 0


def test_a_decay_of_one_is_fine_tuning_at_one_rate_bit_for_bit() -> None:
    fake, plain = fake_task("classification"), registry.declaration("methods", "finetune").load()
    states = []
    for method, params in (
        (METHOD, {"decay": 1.0, "head_multiplier": 1.0}),
        (plain, {"head_multiplier": 1.0, "schedule": "slanted_triangular"}),
    ):
        backbone = fake_backbone()
        method.fit(
            fake.task, backbone, method.Config(epochs=3, lr=1e-3, **params), Context(random_root="same", device=CPU)
        )
        states.append(backbone.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    start = fake_backbone().state_dict()
    assert not torch.equal(states[0]["body.block1.0.weight"], start["body.block1.0.weight"])
