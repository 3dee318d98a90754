"""WiSE-FT: both ends to the last bit, buffers included, and what lies between them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tlbench.plugins import registry
from tlbench.testing.contract import Case, Fitted, assert_footprint, run
from tlbench.testing.fakes import fake_backbone
from tlbench.training.classifier import Classifier
from tlbench.training.linear_probe import initialise_head
from tlbench.training.validation_scores import ValidationScores

between = registry.declaration("methods", "wise_ft").load().interpolate_states
MOVING = {"epochs": 4, "batch_norm": "train"}


def _fit(folder: Path, **params: object) -> Fitted:
    return run(Case("wise_ft", "classification", params={**MOVING, **params}), folder)


def test_the_ends_are_exact_however_far_apart() -> None:
    start = {"w": torch.tensor([1e8, -3.0, 1e-30]), "n": torch.tensor(3)}
    end = {"w": torch.tensor([1.0, 7e7, 5.0]), "n": torch.tensor(8)}
    for alpha, expected in ((0.0, start), (1.0, end)):
        found = between(start, end, alpha)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert found["n"].dtype == torch.int64


def test_what_both_ends_have_alike_stays_even_where_it_is_infinite() -> None:
    mask = torch.tensor([[0.0, -math.inf], [0.0, 0.0]])
    for moved in (0.0, 1.0):
        start, end = ({"mask": mask.clone(), "w": torch.tensor([value])} for value in (0.0, moved))
        for alpha in (0.0, 0.3, 0.7, 1.0):
            found = between(start, end, alpha)
            assert torch.equal(found["mask"], mask)
            assert found["w"].item() == pytest.approx(alpha * moved)


def test_a_tensor_under_two_names_moves_once() -> None:
    start, end = torch.zeros(3), torch.ones(3)
    found = between({"a": start, "tied": start}, {"a": end, "tied": end}, 0.25)
    assert torch.equal(found["a"], torch.full((3,), 0.25))
    assert torch.equal(found["tied"], found["a"])
    assert not start.any(), "the ends are needed again"


def test_accuracy_decides_then_likelihood_then_the_shorter_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = registry.declaration("methods", "wise_ft").load()
    scripted = dict.fromkeys(method._GRID, ValidationScores(0.5, 0.1))
    scripted |= {
        0.2: ValidationScores(0.9, 0.7),
        0.4: ValidationScores(0.9, 0.3),
        0.6: ValidationScores(0.9, 0.3),
        0.8: ValidationScores(0.9, 0.5),
    }
    told = iter(scripted.values())
    monkeypatch.setattr(method, "evaluate", lambda *_: next(told))
    fitted = _fit(tmp_path)
    assert fitted.ctx.selected["alpha"] == 0.4
    assert fitted.ctx.validation == {"accuracy": 0.9, "nll": 0.3}
    assert next(told, None) is None, "a share was not tried"


def test_at_zero_every_tensor_is_that_of_the_probe_on_the_backbone_as_given(tmp_path: Path) -> None:
    fitted = _fit(tmp_path, alpha=0.0)
    start = Classifier(fake_backbone(), 10)
    initialise_head(start, fitted.fake.task, fitted.ctx)
    found: dict[str, Tensor] = fitted.result.module.state_dict()
    assert [name for name, value in start.state_dict().items() if not torch.equal(found[name], value)] == []
    assert_footprint(fitted)
    head = sum(p.numel() for p in start.head.parameters())
    assert fitted.result.footprint().stored_bytes == 4 * head


def test_at_one_every_tensor_is_that_of_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = registry.declaration("methods", "wise_ft").load()
    train, kept = method.train_classifier, {}

    def trained(model: Classifier, *rest: object, **more: object) -> None:
        train(model, *rest, **more)
        kept.update({name: value.clone() for name, value in model.state_dict().items()})

    monkeypatch.setattr(method, "train_classifier", trained)
    fitted = _fit(tmp_path, alpha=1.0)
    found = fitted.result.module.state_dict()
    assert [name for name, value in kept.items() if not torch.equal(found[name], value)] == []
    given = fitted.given.state_dict()
    counters = [name for name in given if name.endswith("num_batches_tracked")]
    assert counters
    assert all(found[f"backbone.{name}"] > given[name] for name in counters), "this test needs statistics that move"


def test_statistics_are_interpolated_and_counters_are_not(tmp_path: Path) -> None:
    ends = [_fit(tmp_path / str(alpha), alpha=alpha).result.module.state_dict() for alpha in (0.0, 1.0)]
    found = _fit(tmp_path / "between", alpha=0.3).result.module.state_dict()
    running = [name for name in found if "running" in name]
    assert running
    for name in running:
        torch.testing.assert_close(found[name], 0.7 * ends[0][name] + 0.3 * ends[1][name], rtol=1e-5, atol=1e-6)
        assert not torch.equal(ends[0][name], ends[1][name])
        assert "var" not in name or (found[name] > 0).all()
    for name in found:
        if name.endswith("num_batches_tracked"):
            assert found[name].dtype == torch.int64
            assert found[name] == ends[0][name] != ends[1][name]
