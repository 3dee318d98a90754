"""The contract of evaluation protocols, as checks that an author runs over a name.

    @pytest.mark.parametrize("check", protocol_contract.CHECKS, ids=protocol_contract.title)
    def test_contract(check, tmp_path):
        check(protocol_contract.Case("my_protocol"), tmp_path)

Protocols run on a fake dataset, with a classifier by class means in place of a method. A protocol whose default options
ask for more than the fakes have, or for long evaluations, declares ``QUICK``, the options for these checks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlbench.core.cell import ProtocolChoice, task_info
from tlbench.core.config import Settings
from tlbench.core.info import Shots
from tlbench.core.record import Footprint, Outcome, unpack_bits, unpack_classes
from tlbench.data.dataset import Dataset, Split, Task
from tlbench.data.folds import Fold
from tlbench.plugins import registry
from tlbench.testing.fakes import fake_backbone, fake_context, fake_dataset, fake_pair
from tlbench.training.context import Context
from tlbench.training.process_group import ProcessGroup

_SHOTS = 5


@dataclass(frozen=True)
class Case:
    """A protocol with options.

    Attributes:
        protocol: The protocol's name.
        options: Options beside its ``QUICK`` ones.
        shots: Labelled examples per class; by default 5, or the first of its ``USUAL_SHOTS``.
    """

    protocol: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shots: Shots | None = None

    def __str__(self) -> str:
        return self.protocol


@dataclass(frozen=True)
class Evaluated:
    """The result of running a protocol.

    Attributes:
        outcome: What ``run`` returned.
        task: The task that the method was given.
        ctx: The context after the run.
    """

    outcome: Outcome | None
    task: Task
    ctx: Context

    @property
    def validation(self) -> Split | None:
        """The labelled examples by which the method chooses, or by which a trial is scored in place of it."""
        return self.ctx.followed if self.task.val is None else self.task.val


def cases() -> list[Case]:
    """Return a case of every protocol that is found."""
    return [Case(name) for name in registry.names("protocols")]


def title(check: Callable[..., None]) -> str:
    """Return a check's name without its prefix."""
    return check.__name__.removeprefix("check_")


class ClassMeans:
    """A classifier by the nearest class mean of the labelled examples; it also solves episodes.

    Args:
        task: Provides the labelled examples; the source where the target has none.
        ctx: Provides the frozen features.
        backbone: Maps raw inputs (B, ...) to the same features.
        scale: Factor of the logits; NaN makes them invalid.
    """

    encoder: nn.Module | None = None
    transductive = False

    def __init__(self, task: Task, ctx: Context, backbone: nn.Module, scale: float) -> None:
        labelled = task.source if task.source is not None and not len(task.train) else task.train
        z, labels = ctx.frozen_features(labelled), torch.from_numpy(labelled.labels)
        self._means = torch.stack([z[labels == label].mean(0) for label in labels.unique()])
        self._backbone = backbone
        self._scale = scale

    def logits(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs (B, ...)."""
        return self._scale * -torch.cdist(self._backbone(x), self._means)

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        member = nn.functional.one_hot(labels, ways).transpose(1, 2).to(support.dtype)
        means = member @ support / member.sum(2, keepdim=True).clamp_min(1)
        return self._scale * -torch.cdist(query, means)

    def footprint(self) -> Footprint:
        """Return a footprint that can be recognised."""
        return Footprint(trainable=1, total=2, stored_bytes=3)


def run(case: Case, folder: Path, dataset: Dataset | None = None, /, scale: float = 1.0, **context: Any) -> Evaluated:
    """Run a protocol on a fake dataset with the classifier by class means.

    Args:
        case: The protocol, its options and shots.
        folder: A folder of its own.
        dataset: Another dataset than the fake one.
        scale: Factor of the classifier's logits.
        **context: Changes to the context.
    """
    declared = registry.declaration("protocols", case.protocol)
    dataset = dataset or fake(case)
    backbone = fake_backbone().eval()
    ctx = fake_context(folder, dataset, copy.deepcopy(backbone), **context)
    tasks: list[Task] = []

    def fit(task: Task, choosing: Context | None = None) -> ClassMeans:
        if choosing is not None:
            return ClassMeans(task, ctx, backbone, scale)
        tasks.append(task)
        ctx.selected["temperature"] = 0.5
        ctx.validation["accuracy"] = 0.25
        ctx.notes.append("a note of the method")
        return ClassMeans(task, ctx, backbone, scale)

    choice = ProtocolChoice(case.protocol, declared.version, _options(case).model_dump())
    info = task_info(choice, dataset.info, _shots(case))
    outcome = declared.load().run(info, dataset, 0, fit, ctx)
    assert len(tasks) == 1, "a method is fitted once"
    return Evaluated(outcome, tasks[0], ctx)


def fake(case: Case) -> Dataset:
    """Return the fake dataset of a protocol: a pair of domains where it declares ``PAIRS``."""
    return fake_pair() if registry.declaration("protocols", case.protocol).constants.PAIRS else fake_dataset()


def check_declaration(case: Case, folder: Path) -> None:
    """What is declared without torch is what the module has: a docstring, described options and valid constants."""
    declared = registry.declaration("protocols", case.protocol)
    module = declared.load()
    assert declared.summary, "the docstring opens with the idea, in a sentence"
    assert issubclass(module.Options, Settings)
    assert module.Options.model_json_schema() == declared.settings.model_json_schema()
    for name, option in module.Options.model_fields.items():
        assert option.description, f"the option {name} has a description"
    module.Options(**declared.constants.QUICK)
    usual = declared.constants.USUAL_SHOTS
    assert all(shots == "full" or shots >= declared.constants.LEAST_SHOTS for shots in usual or ())


def check_outcome(case: Case, folder: Path) -> None:
    """The outcome has valid scores that agree with the bits of correctness, and what the method reported."""
    evaluated = run(case, folder)
    outcome = evaluated.outcome
    assert outcome is not None
    bits = _bits(outcome)
    assert outcome.tests > 0
    assert len(bits) == outcome.tests
    assert outcome.tests % outcome.group == 0
    assert not outcome.test_classes or len(unpack_classes(outcome.test_classes, outcome.tests)) == outcome.tests
    assert abs(outcome.scores["accuracy"] - bits.mean()) < 1e-6
    assert 0 <= outcome.scores["accuracy"] <= 1
    assert all(np.isfinite(value) for value in outcome.scores.values())
    assert len(outcome.logits) == 32
    assert outcome.footprint == Footprint(trainable=1, total=2, stored_bytes=3)
    assert outcome.selected["temperature"] == 0.5
    assert outcome.validation["accuracy"] == 0.25
    assert "a note of the method" in outcome.notes
    assert not outcome.transductive


def check_reproducible(case: Case, folder: Path) -> None:
    """The same cell gives the same outcome, bit for bit, and the same task; the dataset is not changed."""
    dataset = fake(case)
    first, second = run(case, folder / "1", dataset), run(case, folder / "2")
    assert first.outcome == second.outcome
    _assert_same(first.task, second.task)
    untouched = fake(case)
    assert np.array_equal(np.asarray(dataset.x), np.asarray(untouched.x))
    assert np.array_equal(dataset.y, untouched.y)


def check_test_labels(case: Case, folder: Path) -> None:
    """Labels of examples that are no part of the task decide the scores, and nothing that a method is given."""
    dataset = fake(case)
    plain = run(case, folder / "plain", dataset)
    test = _outside(plain.task, dataset)
    assert len(test), "there are examples that the method is not given"
    y = dataset.y.copy()
    y[test] = np.random.default_rng(0).permutation(y[test])
    shuffled = run(case, folder / "shuffled", replace(dataset, y=y))
    _assert_same(plain.task, shuffled.task)
    assert plain.outcome is not None
    assert shuffled.outcome is not None
    assert plain.outcome.correct != shuffled.outcome.correct, "the test labels do not matter"


def check_validation_only(case: Case, folder: Path) -> None:
    """In a search nothing is scored, and no example that is no part of the task is read.

    Validation scores are those that the method reported, or those of the answers that the outcome holds.
    """
    dataset = fake(case)
    plain = run(case, folder / "plain", dataset, validation_only=True)
    assert plain.outcome is not None
    assert plain.outcome.scores == {}
    assert (plain.outcome.tests, plain.outcome.correct, plain.outcome.logits) == (0, "", "")
    answers = plain.outcome.answers
    if answers is None:
        assert plain.outcome.validation["accuracy"] == 0.25
    else:
        packed = np.frombuffer(unpack_bits(answers.correct, answers.count), np.uint8)
        bits = np.unpackbits(packed, count=answers.count)
        assert abs(plain.outcome.validation["accuracy"] - bits.mean()) < 1e-6
        assert answers.count % answers.group == 0
    x = np.asarray(dataset.x).copy()
    x[np.setdiff1d(_outside(plain.task, dataset), [] if plain.validation is None else plain.validation.rows)] = 0
    blank = run(case, folder / "blank", replace(dataset, x=x), validation_only=True)
    assert blank.outcome is not None
    told, blanked = plain.outcome.validation, blank.outcome.validation
    assert told.keys() == blanked.keys()
    assert all(abs(told[name] - blanked[name]) < 1e-4 for name in told)  # some processors round by place
    assert blank.outcome.model_copy(update={"validation": told}) == plain.outcome


def check_folds(case: Case, folder: Path) -> None:
    """A protocol that declares ``FOLDS`` validates once on each label of the task, and fits to the others meanwhile."""
    if not registry.declaration("protocols", case.protocol).constants.FOLDS:
        return
    labelled = _labelled(run(case, folder / "plain", validation_only=True))
    held_out: list[int] = []
    for number in range(2):
        found = run(case, folder / str(number), validation_only=True, fold=Fold(number, 2))
        val = found.validation
        assert val is not None
        assert _labelled(found) == labelled, "a fold has the labels of the task, and no others"
        assert not set(val.rows.tolist()) & set(found.task.train.rows.tolist())
        assert found.outcome is not None
        assert found.outcome.answers is not None
        assert found.outcome.answers.count == len(val)
        held_out += val.rows.tolist()
    assert sorted(held_out) == labelled


def _labelled(found: Evaluated) -> list[int]:
    return sorted(found.task.train.rows.tolist() + ([] if found.validation is None else found.validation.rows.tolist()))


def check_group(case: Case, folder: Path) -> None:
    """Of the processes of a group only the first has an outcome; all are given the same task."""
    first, second = run(case, folder / "1"), run(case, folder / "2", group=ProcessGroup(1, 2))
    assert first.outcome is not None
    assert second.outcome is None
    _assert_same(first.task, second.task)


def check_invalid_logits(case: Case, folder: Path) -> None:
    """Logits that are not finite are refused."""
    try:
        run(case, folder, scale=float("nan"))
    except (FloatingPointError, ValueError):
        return
    raise AssertionError("logits that are not finite were scored")


CHECKS = (
    check_declaration,
    check_outcome,
    check_reproducible,
    check_test_labels,
    check_validation_only,
    check_folds,
    check_group,
    check_invalid_logits,
)


def _options(case: Case) -> Settings:
    declared = registry.declaration("protocols", case.protocol)
    return declared.settings(**{**declared.constants.QUICK, **case.options})


def _shots(case: Case) -> Shots:
    if case.shots is not None:
        return case.shots
    usual = registry.declaration("protocols", case.protocol).constants.USUAL_SHOTS
    return usual[0] if usual else _SHOTS


def _splits(task: Task) -> dict[str, Split]:
    splits = {"train": task.train, "val": task.val, "unlabeled": task.unlabeled, "source": task.source}
    return {name: split for name, split in splits.items() if split is not None}


def _outside(task: Task, dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows of a dataset that are in no split of a task."""
    given = np.concatenate([split.rows for split in _splits(task).values()])
    return np.setdiff1d(np.arange(len(dataset.y)), given)


def _assert_same(one: Task, other: Task) -> None:
    """Compare the rows, inputs and labels of two tasks."""
    assert one.info.classes == other.info.classes
    splits, others = _splits(one), _splits(other)
    assert splits.keys() == others.keys()
    for name, split in splits.items():
        assert np.array_equal(split.rows, others[name].rows), name
        assert np.array_equal(split.x, others[name].x), name
        assert (split.y is None) == (others[name].y is None), name
        assert split.y is None or np.array_equal(split.labels, others[name].labels), name


def _bits(outcome: Outcome) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(unpack_bits(outcome.correct, outcome.tests), np.uint8), count=outcome.tests)
