"""Parameter groups cover what is trained exactly once, and tell head from body by identity."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from tlbench.backbones.backbone import Backbone, BodyParts
from tlbench.core.info import BackboneInfo
from tlbench.training.classifier import Classifier
from tlbench.training.parameter_groups import check_coverage, make_optimizer, parameter_groups, scale_rates


def _classifier() -> Classifier:
    """A body whose layers bear the names that substring tests fall for."""
    body = nn.Sequential()
    body.add_module("fc1", nn.Linear(6, 5))
    body.add_module("norm", nn.LayerNorm(5))
    body.add_module("head", nn.Linear(5, 4))
    info = BackboneInfo("tiny", "test", "image", "tiny", {"weights": {"kind": "random"}})
    return Classifier(Backbone(info, nn.Identity(), body, 4, BodyParts([["fc1"], ["norm"], ["head"]], [])), 3)


def _parts(model: Classifier, multiplier: float) -> list[tuple[Iterator[nn.Parameter], float]]:
    return [(model.backbone.parameters(), 0.1), (model.head.parameters(), 0.1 * multiplier)]


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    model = _classifier()
    next(model.backbone.parameters()).requires_grad_(False)
    groups = parameter_groups(_parts(model, 10), 0.01)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    check_coverage(model, groups)


def test_only_the_head_itself_gets_the_heads_rate() -> None:
    model = _classifier()
    groups = parameter_groups(_parts(model, 10), 0.01)
    fast = {id(p) for group in groups if group["lr"] == pytest.approx(1.0) for p in group["params"]}
    slow = {id(p) for group in groups if group["lr"] == pytest.approx(0.1) for p in group["params"]}
    assert fast == {id(p) for p in model.head.parameters()}
    assert slow == {id(p) for p in model.backbone.parameters()}


@pytest.mark.parametrize("decay", [0.01, 0.0])
def test_vectors_are_not_decayed_and_matrices_are(decay: float) -> None:
    model = _classifier()
    groups = parameter_groups(_parts(model, 1), decay)
    check_coverage(model, groups)
    for group in groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (decay if parameter.ndim > 1 else 0.0)


def test_tokens_and_tables_of_positions_are_not_decayed() -> None:
    vit = VisionTransformer(16, 8, 1, 2, 32, 64)
    (decayed, others) = parameter_groups([(vit.parameters(), 0.1)], 0.5)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    free = {id(p) for p in others["params"]}
    assert {id(vit.class_token), id(vit.encoder.pos_embedding)} <= free
    assert {id(p) for p in vit.parameters() if p.ndim <= 1} < free
    assert id(vit.conv_proj.weight) not in free
    assert len(free) + len(decayed["params"]) == len(list(vit.parameters()))


@pytest.mark.parametrize("fault", ["missing", "twice", "foreign", "frozen"])
def test_a_cover_that_is_not_exact_is_refused(fault: str) -> None:
    model = _classifier()
    groups = parameter_groups(_parts(model, 1), 0.01)
    if fault == "missing":
        groups = groups[1:]
    elif fault == "twice":
        groups[0]["params"].append(groups[0]["params"][0])
    elif fault == "foreign":
        groups[0]["params"].append(nn.Parameter(torch.zeros(2)))
    else:
        model.head.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="must cover"):
        check_coverage(model, groups)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_scaling_the_rate_keeps_the_ratio_between_groups(name: str) -> None:
    model = _classifier()
    optimizer = make_optimizer(name, parameter_groups(_parts(model, 10), 0.01))  # type: ignore[arg-type]
    for factor in (0.5, 0.25, 1.0):
        scale_rates(optimizer, factor)
        assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([0.1 * factor, factor])
