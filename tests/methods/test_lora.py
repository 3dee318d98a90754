"""The method LoRA: it trains updates and head alone, predicts with merged weights, and is as fast as the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from low_rank_nets import RANK, close, method, snapshot, updated_layers
from small_nets import images, small_net

from tlbench.backbones.backbone import Backbone
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, fake_task
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.low_rank import low_rank_state, merge_low_rank, unmerge_low_rank


def _fit(backbone: Backbone, **params: Any) -> tuple[Any, Context]:
    ctx = Context(random_root="lora-test", device=CPU)
    config = method().Config(**{"epochs": 2, "lr": 5e-3, "rank": RANK, **params})
    return method().fit(fake_task("classification").task, backbone, config, ctx), ctx


@pytest.mark.parametrize("targets", ["qv", "all", ["2.*", "1.*"]])
@pytest.mark.parametrize("name", ["swin", "vit", "resnet"])
def test_training_changes_only_updates_and_head(name: str, targets: Any) -> None:
    if isinstance(targets, list):
        targets = ["mlp.0", "out_proj"] if name == "vit" else ["qkv", "mlp.3"] if name == "swin" else ["layer4.*"]
    backbone = small_net(name).float()
    before = snapshot(backbone)
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
    close(merged, apart, rtol=1e-4, atol=1e-5)
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
            scales = [layer.design.scale for layer in updated_layers(backbone).values()]
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
    updated = {name.split(".")[0] for name in updated_layers(fitted.backbone)}
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
