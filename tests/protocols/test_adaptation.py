"""What adaptation promises: sealed target labels, honest selection among stored answers, and an oracle kept apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from tlbench.core.info import TaskInfo
from tlbench.core.record import Footprint, Outcome, unpack_bits
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset, Task
from tlbench.plugins import registry
from tlbench.protocols import adaptation, classification, episodic
from tlbench.protocols._candidates import CandidateOutputs
from tlbench.stats.validators import VALIDATORS
from tlbench.store.mlflow.schema import key
from tlbench.testing.fakes import CPU, fake_backbone, fake_pair
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.predictor import ModulePredictor
from tlbench.training.process_group import ProcessGroup

CLASSES = 10
METHODS = [
    name for name in registry.names("methods") if "adaptation" in registry.declaration("methods", name).protocols
]
ORACLES = [name for name in METHODS if registry.declaration("methods", name).constants.ORACLE]


@pytest.fixture
def dataset() -> Dataset:
    """A pair of domains whose first two pixels spell out the row."""
    pair = fake_pair()
    pair.x[:, 0, 0, 0], pair.x[:, 0, 0, 1] = np.arange(len(pair.y)) // 256, np.arange(len(pair.y)) % 256
    return pair


def rows_of(x: Any) -> Any:
    return x[:, 0, 0, 0].astype(int) * 256 + x[:, 0, 0, 1]


def facts(dataset: Dataset, shots: int | str = 0, **options: Any) -> TaskInfo:
    return TaskInfo("adaptation", dataset.info, shots, CLASSES, adaptation.Options(**options).model_dump())


def context(**changes: Any) -> Context:
    return Context(**{"random_root": "cell", "device": CPU, **changes})


class Table:
    """A model that looks its logits (rows, classes) up by the row that an image spells out."""

    def __init__(self, logits: Any) -> None:
        self.table = torch.as_tensor(logits, dtype=torch.float32)

    def logits(self, x: Tensor) -> Tensor:
        return self.table[x[:, 0, 0, 0].long() * 256 + x[:, 0, 0, 1].long()]

    def footprint(self) -> Footprint:
        return Footprint(trainable=0, total=0, stored_bytes=0)


def answering(dataset: Dataset, right: dict[int, float], sure: float = 5.0, seed: int = 0) -> Table:
    """Return a model that is right on a share of each part's examples, and as sure of it as it is said."""
    generator = np.random.default_rng(seed)
    said = (dataset.y + generator.integers(1, CLASSES, len(dataset.y))) % CLASSES
    for part, share in right.items():
        rows = generator.permutation(dataset.rows(part))
        rows = rows[: round(share * len(rows))]
        said[rows] = dataset.y[rows]
    return Table(sure * np.eye(CLASSES)[said])


def outcome(
    dataset: Dataset, fit: Callable[[Task], Any], ctx: Context | None = None, shots: int | str = 0, **options: Any
) -> Outcome:
    found = adaptation.run(facts(dataset, shots, **options), dataset, 0, fit, ctx or context())
    assert found is not None
    return found


def offered(dataset: Dataset, models: dict[int, Table], ctx: Context | None = None, **options: Any) -> Outcome:
    """Run the protocol over a method that proposes the given models and returns the last."""
    ctx = ctx or context()

    def fit(task: Task) -> Table:
        for step, model in models.items():
            assert ctx.add_candidate(step, model.logits) is None, "a method learns nothing of how a proposal fares"
        return list(models.values())[-1]

    return outcome(dataset, fit, ctx, **options)


@pytest.mark.parametrize("shots", [0, 1, 3, "full"])
@pytest.mark.parametrize("oracle", [False, True])
def test_the_parts_of_a_task(dataset: Dataset, shots: int | str, oracle: bool) -> None:
    task = adaptation.draw(facts(dataset, shots), dataset, 3, oracle)
    assert task.source is not None
    assert task.val is not None
    assert task.unlabeled is not None
    for split, part in ((task.source, SOURCE), (task.val, SOURCE_VAL), (task.unlabeled, TRAIN)):
        np.testing.assert_array_equal(rows_of(split.x), dataset.rows(part))
    for split in (task.source, task.val, task.train):
        np.testing.assert_array_equal(split.labels, dataset.y[split.rows])
    assert task.unlabeled.y is None
    each = 10 if oracle or shots == "full" else int(shots)
    np.testing.assert_array_equal(np.bincount(task.train.labels, minlength=CLASSES), [each] * CLASSES)
    assert set(rows_of(task.train.x)) <= set(dataset.rows(TRAIN))


def test_budgets_nest_and_are_those_of_classification(dataset: Dataset) -> None:
    """The same seed labels the same target examples in both protocols, validation included."""
    few, more = (set(adaptation.draw(facts(dataset, shots), dataset, 1).train.rows) for shots in (2, 5))
    assert few < more
    info = TaskInfo("classification", dataset.info, 5, CLASSES, {})
    task = classification.draw(info, dataset, 1)
    assert task.val is not None
    assert more == set(task.train.rows) | set(task.val.rows)
    assert more != set(adaptation.draw(facts(dataset, 5), dataset, 2).train.rows)


def test_to_other_protocols_a_pair_is_its_target(dataset: Dataset) -> None:
    target = set(np.flatnonzero(dataset.domain == 1))
    task = classification.draw(TaskInfo("classification", dataset.info, "full", CLASSES, {}), dataset, 0)
    assert task.val is not None
    assert set(task.train.rows) | set(task.val.rows) == set(dataset.rows(TRAIN)) <= target
    options = episodic.Options(ways=2).model_dump()
    task, _ = episodic.draw(TaskInfo("episodic", dataset.info, 1, 2, options), dataset)
    assert task.val is not None
    assert set(task.train.rows) | set(task.val.rows) <= target


def test_each_validator_chooses_by_what_it_reads(dataset: Dataset) -> None:
    """Four models, each of them the best by one measure and by no other."""
    collapsed = np.zeros((len(dataset.y), CLASSES))
    collapsed[:, 2] = 20.0
    source = answering(dataset, {SOURCE_VAL: 1.0, TRAIN: 0.3, TEST: 0.3}, sure=1.0)
    balanced = answering(dataset, {SOURCE_VAL: 0.6, TRAIN: 0.7, TEST: 0.7}, sure=8.0)
    truth = answering(dataset, {SOURCE_VAL: 0.5, TRAIN: 0.9, TEST: 0.9}, sure=2.0)
    late = answering(dataset, {SOURCE_VAL: 0.4, TRAIN: 0.2, TEST: 0.2}, sure=0.5)
    models = {10: source, 20: Table(collapsed), 30: balanced, 40: truth, 50: late}
    for step, model in models.items():  # on the test others are sure of themselves, which is for nobody to see
        model.table[dataset.rows(TEST)] *= {10: 100, 50: 100}.get(step, 0.01)
    found = offered(dataset, models)
    chosen = {name: found.selected[f"step_by/{name}"] for name in (*VALIDATORS, "oracle")}
    assert chosen == {
        "source_accuracy": 10,
        "entropy": 20,
        "information": 30,
        "nuclear_norm": 30,
        "source_and_information": 30,
        "clusters": 50,
        "density": 20,
        "last": 50,
        "oracle": 40,
    }
    assert {name: found.scores[f"accuracy_by/{name}"] for name in chosen} == {
        "source_accuracy": 0.3,
        "entropy": 0.1,
        "information": 0.7,
        "nuclear_norm": 0.7,
        "source_and_information": 0.7,
        "clusters": 0.2,
        "density": 0.1,
        "last": 0.2,
        "oracle": 0.9,
    }
    assert found.curves["oracle_accuracy"] == [(10, 0.3), (20, 0.1), (30, 0.7), (40, 0.9), (50, 0.2)]
    assert [step for step, _ in found.curves["validator/entropy"]] == list(models)
    assert not found.oracle


@pytest.mark.parametrize("name", [*VALIDATORS])
def test_the_named_validator_gives_the_result(dataset: Dataset, name: str) -> None:
    source = answering(dataset, {SOURCE_VAL: 1.0, TRAIN: 0.3, TEST: 0.3}, sure=1.0)
    best = answering(dataset, {SOURCE_VAL: 0.5, TRAIN: 0.8, TEST: 0.8}, sure=4.0, seed=1)
    late = answering(dataset, {SOURCE_VAL: 0.4, TRAIN: 0.2, TEST: 0.2}, sure=0.5, seed=2)
    found = offered(dataset, {1: source, 2: best, 3: late}, validator=name)
    model = {1: source, 2: best, 3: late}[found.selected["step"]]
    assert found.selected["validator"] == name
    assert found.selected["step"] == found.selected[f"step_by/{name}"]
    assert found.scores["accuracy"] == found.scores[f"accuracy_by/{name}"]
    test = dataset.rows(TEST)
    right = model.table[test].argmax(1).numpy() == dataset.y[test]
    bits = np.unpackbits(np.frombuffer(unpack_bits(found.correct, found.tests), np.uint8), count=found.tests)
    np.testing.assert_array_equal(bits, right)
    assert found.scores["accuracy"] == right.mean()
    assert found.scores["accuracy_by/oracle"] == 0.8
    assert found.validation.keys() == {*VALIDATORS, "oracle_on_target"}
    chosen = {1: 0.3, 2: 0.8, 3: 0.2}[found.selected["step"]]
    assert found.validation["oracle_on_target"] == chosen
    assert found.validation["source_accuracy"] == {1: 1.0, 2: 0.5, 3: 0.4}[found.selected["step"]]


def test_the_options_are_the_validators_and_none_is_the_oracle() -> None:
    assert get_args(adaptation.Options.model_fields["validator"].annotation) == tuple(VALIDATORS)
    assert adaptation._ORACLE not in VALIDATORS


def test_mlflow_takes_the_names_of_scores_and_curves(dataset: Dataset) -> None:
    found = offered(dataset, {1: answering(dataset, {TEST: 0.5})})
    for name in (*(f"test/{each}" for each in found.scores), *(f"curve/{each}" for each in found.curves)):
        assert key(name) == name


def test_a_method_that_proposes_nothing_is_judged_by_what_it_returns(dataset: Dataset) -> None:
    found = outcome(dataset, lambda task: answering(dataset, {TEST: 0.6}))
    assert {score for name, score in found.scores.items() if name.startswith("accuracy")} == {0.6}


def test_a_model_that_diverged_is_not_chosen(dataset: Dataset) -> None:
    broken = answering(dataset, {TEST: 1.0}, sure=50.0)
    broken.table[dataset.rows(TRAIN)[0], 0] = float("nan")
    found = offered(dataset, {1: answering(dataset, {TEST: 0.5}), 2: broken})
    assert found.selected["step"] == 1
    assert [step for step, _ in found.curves["validator/information"]] == [1]
    late = offered(dataset, {1: answering(dataset, {TEST: 0.5}), 2: broken}, validator="last")
    assert late.selected["step"] == 2
    assert late.validation.keys() == {"last", "oracle_on_target"}
    assert late.validation["last"] == 2.0


def test_only_the_first_process_keeps_and_scores(dataset: Dataset) -> None:
    ctx, kept = context(group=ProcessGroup(1, 2)), []

    def fit(task: Task) -> Table:
        assert ctx.on_candidate is not None
        ctx.on_candidate = lambda step, model: kept.append(step)
        ctx.add_candidate(1, lambda x: x)
        return answering(dataset, {})

    assert adaptation.run(facts(dataset), dataset, 0, fit, ctx) is None
    assert kept == []


def quick(name: str) -> Any:
    """Return a method's settings for a training of a few steps."""
    declared = registry.declaration("methods", name)
    fields = declared.settings.model_fields
    short = {key: value for key, value in {"steps": 12, "checks": 3}.items() if key in fields}
    return declared.load().Config(**{**declared.constants.QUICK, **short})


def fitted(name: str, dataset: Dataset, **changes: Any) -> tuple[Outcome, dict[str, Tensor], CandidateOutputs]:
    """Run a method under the protocol and return what came of it, its weights, and all that was stored."""
    declared = registry.declaration("methods", name)
    ctx = context(oracle=declared.constants.ORACLE, **changes)
    torch.manual_seed(0)
    results = []

    def fit(task: Task) -> Any:
        results.append(declared.load().fit(task, fake_backbone(), quick(name), ctx))
        return results[0]

    found = outcome(dataset, fit, ctx)
    (result,) = results
    assert isinstance(result, ModulePredictor)
    assert ctx.on_candidate is not None
    return found, result.module.state_dict(), ctx.on_candidate.__self__  # type: ignore[attr-defined]


def relabelled(dataset: Dataset) -> Dataset:
    """Return the pair with the labels of all target examples, to train on and to test on, permuted."""
    y = dataset.y.copy()
    for part in (TRAIN, TEST):
        rows = dataset.rows(part)
        y[rows] = np.random.default_rng(part).permutation(y[rows])
    assert (y != dataset.y).mean() > 0.4
    return replace(dataset, y=y)


@pytest.mark.parametrize("name", METHODS)
def test_target_labels_change_nothing_in_training_selection_or_weights(name: str) -> None:
    """Bit for bit; all that may differ is what is scored with them."""
    (one, weights, kept), (two, others, stored) = (
        fitted(name, pair) for pair in (fake_pair(), relabelled(fake_pair()))
    )
    same = all(torch.equal(value, others[key]) for key, value in weights.items())
    assert same == (name not in ORACLES)
    if name in ORACLES:
        assert one.oracle
        assert two.oracle
        return
    assert kept.steps == stored.steps
    assert len(kept.steps) > 0
    for step in kept.steps:
        first, second = kept.logits(step), stored.logits(step)
        assert all(np.array_equal(value, second[part]) for part, value in first.items())
    assert one.logits == two.logits
    assert {k: v for k, v in one.validation.items() if "oracle" not in k} == {
        k: v for k, v in two.validation.items() if "oracle" not in k
    }
    assert {k: v for k, v in one.selected.items() if "oracle" not in k} == {
        k: v for k, v in two.selected.items() if "oracle" not in k
    }
    assert {k: v for k, v in one.curves.items() if "oracle" not in k} == {
        k: v for k, v in two.curves.items() if "oracle" not in k
    }
    assert one.scores != two.scores
    assert not one.oracle


@pytest.mark.parametrize("name", ["source_only", "target_oracle"])
def test_test_labels_are_not_read_before_scoring(name: str) -> None:
    """They are written into the data only when the method is done."""
    declared = registry.declaration("methods", name)
    expected = fitted(name, fake_pair())[0]
    pair = fake_pair()
    test, truth = pair.rows(TEST), pair.y[pair.rows(TEST)]
    pair.y[test] = 0
    ctx = context(oracle=declared.constants.ORACLE)
    torch.manual_seed(0)

    def fit(task: Task) -> Any:
        result = declared.load().fit(task, fake_backbone(), quick(name), ctx)
        pair.y[test] = truth
        return result

    assert outcome(pair, fit, ctx) == expected


def test_stored_answers_survive_a_kill(tmp_path: Path) -> None:
    """What was proposed before the checkpoint is not asked of the model again, and the outcome is the same."""

    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise KilledError

    straight, weights, kept = fitted("source_only", fake_pair())
    with pytest.raises(KilledError):
        fitted("source_only", fake_pair(), checkpoints=Checkpoints(tmp_path, interval=0.0), on_epoch=kill)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*.npz")}
    assert sorted(before) == ["proposal-4.npz", "proposal-8.npz"]
    resumed, others, stored = fitted("source_only", fake_pair(), checkpoints=Checkpoints(tmp_path, interval=0.0))
    assert resumed == straight
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert stored.steps == kept.steps == [4, 8, 12]
    assert (tmp_path / "proposal-4.npz").stat().st_mtime_ns == before["proposal-4.npz"]
    for step in kept.steps:
        assert all(np.array_equal(value, stored.logits(step)[part]) for part, value in kept.logits(step).items())


def test_what_is_stored_is_what_the_model_answered_then(dataset: Dataset, tmp_path: Path) -> None:
    """Later training of the same object leaves stored answers alone, in memory and in files."""
    parts = {"source": dataset.rows(SOURCE_VAL), "target": dataset.rows(TRAIN), "test": dataset.rows(TEST)}
    for folder in (None, tmp_path):
        model = answering(dataset, {TEST: 0.5})
        was = copy.deepcopy(model.table)
        proposals = CandidateOutputs(dataset, parts, CPU, folder)
        proposals.add(7, model.logits)
        model.table.zero_()
        proposals.add(30, model.logits)
        assert proposals.steps == [7, 30]
        for name, rows in parts.items():
            np.testing.assert_array_equal(proposals.logits(7)[name], was[rows])
            assert not proposals.logits(30)[name].any()
