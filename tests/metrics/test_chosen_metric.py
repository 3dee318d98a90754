"""A suite that chooses a metric: it decides on validation, is scored and stored, and only such cells have other ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tlbench.core.errors import UserError
from tlbench.core.record import Confusion, Outcome, unpack_scores
from tlbench.data.dataset import Task
from tlbench.planning.catalog import full_catalog
from tlbench.plugins import registry
from tlbench.search.objective import Criterion, criterion_of, validation_value
from tlbench.store.answers import AnswerFiles
from tlbench.suite.load import loads
from tlbench.suite.spec import Suite
from tlbench.testing.fakes import fake_backbone, fake_context, fake_task
from tlbench.training.context import Context
from tlbench.training.metric import metric_of
from tlbench.training.validation_scores import ValidationScores, by_likelihood, by_metric, score_logits

SUITE = """\
name: chosen
{suite}
grids:
  - protocol: {protocol}
    methods: [nearest_centroid]
    backbones: [conv4]
    datasets: [digits]
    shots: [1]
    {grid}
"""


@pytest.fixture(scope="module")
def read() -> Callable[..., Suite]:
    catalog = full_catalog()

    def made(suite: str = "", grid: str = "seeds: 1", protocol: str = "classification") -> Suite:
        return loads(SUITE.format(suite=suite, grid=grid, protocol=protocol), catalog, "s.yaml")

    return made


def test_a_grid_names_its_metric_or_has_that_of_the_suite(read: Callable[..., Suite]) -> None:
    assert read("metric: auroc").grids[0].options == {"metric": "auroc"}
    assert read("metric: auroc", "metric: log_loss").grids[0].options == {"metric": "log_loss"}
    assert read().grids[0].options == {}


@pytest.mark.parametrize(
    ("suite", "grid", "protocol", "message", "hint"),
    [
        ("metric: aurok", "seeds: 1", "classification", "s.yaml:2: unknown metric 'aurok'", "auroc"),
        ("", "metric: f1", "classification", "s.yaml:9: unknown metric 'f1'", "macro_f1"),
        ("", "metric: auroc", "episodic", "s.yaml:9: unknown key 'metric'", "adaptation takes it, episodic does not"),
        ("metric: auroc", "ways: 2", "episodic", "s.yaml:2: metric: no grid has a protocol", "classification do"),
        ("", "metric: 3", "classification", "s.yaml:9: metric: must be a", ""),
    ],
)
def test_a_metric_that_cannot_be_is_refused_where_it_stands(
    read: Callable[..., Suite], suite: str, grid: str, protocol: str, message: str, hint: str
) -> None:
    with pytest.raises(UserError) as refused:
        read(suite, grid, protocol)
    assert message in str(refused.value)
    assert hint in str(refused.value)


@pytest.mark.parametrize("protocol", ["classification", "adaptation"])
def test_the_usual_metric_is_no_part_of_what_a_cell_is(protocol: str) -> None:
    settings = registry.declaration("protocols", protocol).settings
    assert "metric" not in settings().model_dump(mode="json")
    assert settings(metric="accuracy") == settings(**settings().model_dump(mode="json"))
    assert settings(metric="auroc").model_dump(mode="json")["metric"] == "auroc"


def outcome(method: str, folder: Path, metric: str, options: dict[str, Any], **params: Any) -> tuple[Outcome, Context]:
    fake, backbone = fake_task("classification"), fake_backbone()
    module = registry.declaration("methods", method).load()
    ctx = fake_context(folder, fake.dataset, backbone, metric=metric_of(metric))
    info = replace(fake.task.info, options={"metric": metric, **options})
    torch.manual_seed(0)

    def fit(task: Task, own: Context | None = None) -> object:
        return module.fit(task, backbone, module.Config(**params), own or ctx)

    found = registry.declaration("protocols", "classification").load().run(info, fake.dataset, 0, fit, ctx)
    assert isinstance(found, Outcome)
    return found, ctx


@pytest.mark.parametrize("metric", ["auroc", "log_loss"])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("linear_probe", {}),
        ("knn", {}),
        ("nearest_centroid", {}),
        ("finetune", {"epochs": 3}),
        ("wise_ft", {"epochs": 2}),
    ],
)
def test_methods_choose_by_it_and_are_scored_by_it(
    method: str, params: dict[str, Any], metric: str, tmp_path: Path
) -> None:
    found, ctx = outcome(method, tmp_path, metric, {"validation": "held_out", "refit": False}, **params)
    assert np.isfinite(found.validation[metric])
    for name, candidates in ctx.candidates.items():
        best = max(each.chosen for each in candidates.scores.values() if each.chosen is not None)
        assert candidates.scores[candidates.best].chosen == best, name
    if ctx.candidates:  # the last choice is that whose scores are told, those of C being approximate
        assert metric_of(metric).declared.sign * best == pytest.approx(found.validation[metric], rel=1e-3)
    files = AnswerFiles(tmp_path / "answers")
    files.add(found.logits, found.test_answers)
    kept = files.read(found.logits)
    assert kept is not None
    logits, labels = torch.from_numpy(kept.logits), torch.from_numpy(kept.labels)
    assert found.scores[metric] == metric_of(metric).value(logits, labels)
    scores = np.frombuffer(unpack_scores(found.example_scores, found.tests), "<f4")
    assert metric_of(metric).declared.sign * scores.mean() == pytest.approx(found.scores[metric], abs=1e-5)
    confusion = Confusion.unpack(found.confusion)
    right = sum(count for truth, answer, count in confusion.counts if truth == answer)
    assert right / found.tests == pytest.approx(found.scores["accuracy"])
    assert sum(count for *_, count in confusion.counts) == found.tests


def test_the_record_holds_scores_and_no_logits(tmp_path: Path) -> None:
    found, _ = outcome("nearest_centroid", tmp_path, "auroc", {})
    stored = found.model_dump(mode="json")
    assert stored["example_scores"]
    assert "test_answers" not in stored
    assert Outcome.model_validate(stored).example_scores == found.example_scores
    plain = Outcome(scores={}).model_dump(mode="json")
    assert not {"example_scores", "confusion", "answers", "test_classes"} & set(plain)


def test_what_is_kept_is_known_by_its_hash(tmp_path: Path) -> None:
    found, _ = outcome("nearest_centroid", tmp_path, "auroc", {})
    files = AnswerFiles(tmp_path / "answers")
    assert files.read(found.logits) is None
    files.add(found.logits, found.test_answers)
    (file,) = (tmp_path / "answers").rglob("*.npz")
    whole = file.read_bytes()
    for damaged in (whole[:-30], b"", b"PK" + whole[2:200]):
        file.write_bytes(damaged)
        assert files.read(found.logits) is None
    other = tmp_path / "answers" / "00" / ("0" * 32 + ".npz")
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(whole)
    assert AnswerFiles(tmp_path / "answers").read(other.stem) is None, "of other logits"


def test_the_order_is_by_the_metric_and_then_by_likelihood() -> None:
    plain, chosen = ValidationScores(0.9, 0.5), ValidationScores(0.1, 0.5, 0.7)
    assert (plain.order, chosen.order) == ((0.9, -0.5), (0.7, -0.5))
    assert (by_metric(chosen), by_likelihood(chosen), by_likelihood(plain)) == ((0.7, -0.5), (0.7, -0.5), (-0.5, 0.9))
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    loss = score_logits(logits, labels, metric_of("log_loss"))
    assert loss.chosen == -loss.nll


def test_a_search_maximises_it() -> None:
    assert criterion_of({}) == Criterion("accuracy", 1)
    assert criterion_of({"metric": "log_loss"}) == Criterion("log_loss", -1)
    assert criterion_of({"metric": "auroc", "validator": "entropy"}) == Criterion("entropy", 1)
    scores = {"accuracy": 0.5, "log_loss": 0.25, "nll": 0.25}
    assert validation_value(scores, Criterion("log_loss", -1)) == pytest.approx(-0.25, abs=1e-5)
    assert validation_value({"accuracy": 0.5}, Criterion("auroc")) is None
