"""The audit finds planted leaks, each by the check that is there for it, and nothing where there is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import leaks
import numpy as np
import pytest
import torch
from pupils import install as install_pupils
from small_suites import CORPUS, FINETUNE, PLAIN, planned, suite
from torch import nn

from tlbench.audit import leak_checks
from tlbench.audit.changed_labels import (
    permute_labels_beyond_budget,
    permute_test_labels,
    scored_rows,
    separate_artifacts,
)
from tlbench.audit.fit_traces import difference, model_trace
from tlbench.audit.leak_checks import check_cell
from tlbench.audit.overlaps import OverlapSearch, unknown_corpora
from tlbench.audit.results import (
    BATCHES,
    BEYOND_THE_BUDGET,
    RUNS,
    TARGET_LABELS,
    TEST_LABELS,
    Audit,
    AuditedCell,
    Overlap,
    Pair,
)
from tlbench.audit.results import CORPUS as PRE_TRAINING
from tlbench.audit.run_audit import audit, cheapest_cells
from tlbench.audit.storage import audit_file, read_audit, write_audit
from tlbench.cli.audit_table import cell_lines, examples, overlap_table
from tlbench.core.cell import Cell
from tlbench.core.class_splits import deal_classes
from tlbench.core.cost import Timing, Timings
from tlbench.core.errors import UserError
from tlbench.data.dataset import TEST, TRAIN, VAL, Split
from tlbench.data.sampling import draw_shots
from tlbench.planning.prepare import prepare
from tlbench.plugins import registry
from tlbench.plugins.discovery import find
from tlbench.store.artifacts import Artifacts
from tlbench.store.workspace import Workspace
from tlbench.worker import teacher as teachers
from tlbench.worker.cache import WorkerCache

TINY = {"name": "conv4", "width": 4}
PAIR = {"name": "pair", "source": CORPUS, "target": "digits"}
EPISODES = {"protocol": "episodic", "ways": 3, "episodes": 5, "queries": 3, "shots": [1], "datasets": ["glyphs"]}
Results = dict[str, tuple[str, str]]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The planted methods and protocols, and pupils of a teacher."""

    def forget() -> None:
        find.cache_clear()
        registry._read.cache_clear()
        for name in [name for name in sys.modules if name.startswith(("tlbench_leaks", "tlbench_pupils"))]:
            del sys.modules[name]

    folders = leaks.install(tmp_path / "leaks"), install_pupils(tmp_path / "pupils")
    with monkeypatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(folder)
        forget()
        yield
    forget()


@pytest.fixture
def worker_cache(decoded: Path) -> WorkerCache:
    return WorkerCache(Artifacts(decoded), torch.device("cpu"))


@pytest.fixture
def audited(tmp_path: Path, decoded: Path, worker_cache: WorkerCache) -> Callable[..., Results]:
    """Audit the one cell of a grid; return verdict and detail of each check."""

    def run(**grid: Any) -> Results:
        usual = {"backbones": [TINY], "seeds": 1, "shots": [2]}
        (cell,) = planned(suite("audited", usual | grid), tmp_path, decoded)
        return {each.check: (each.verdict, each.detail) for each in check_cell(cell, worker_cache).checks}

    return run


def verdicts(results: Results) -> dict[str, str]:
    return {check: verdict for check, (verdict, _) in results.items()}


HONEST = {TEST_LABELS: "passed", BATCHES: "passed"}


@pytest.mark.parametrize("method", [FINETUNE, "linear_probe", "fair", "selects"])
def test_an_honest_method_passes_every_check(
    installed: None, audited: Callable[..., Results], decoded: Path, method: object
) -> None:
    before = sorted(path.name for path in decoded.iterdir())
    assert verdicts(audited(methods=[method])) == HONEST | {BEYOND_THE_BUDGET: "passed"}
    left = {path.name for path in decoded.iterdir()}.difference(before)
    assert left <= {"datasets", "features", "pretrained", "tokens"}, "nothing else is left behind"


def test_test_labels_behind_a_back_door_are_found(installed: None, audited: Callable[..., Results]) -> None:
    found = audited(methods=["peeks"])
    assert found[TEST_LABELS] == ("failed", "differs in model.head.hint")
    assert verdicts(found)[BATCHES] == verdicts(found)[BEYOND_THE_BUDGET] == "passed"


def test_labels_beyond_the_budget_behind_a_back_door_are_found(
    installed: None, audited: Callable[..., Results]
) -> None:
    found = audited(methods=["hoards"])
    assert found[BEYOND_THE_BUDGET] == ("failed", "differs in curves/seen")
    assert verdicts(found)[TEST_LABELS] == "passed"


def test_a_protocol_that_hands_out_test_labels_is_found(installed: None, audited: Callable[..., Results]) -> None:
    found = audited(protocol="generous", methods=["selects"])
    assert found[TEST_LABELS] == ("failed", "differs in validation/accuracy")


def test_a_protocol_that_hands_out_target_labels_is_found(installed: None, audited: Callable[..., Results]) -> None:
    grid = {"datasets": [PAIR], "shots": [0], "methods": ["uses_target"]}
    assert verdicts(audited(protocol="adaptation", **grid)) == HONEST | {TARGET_LABELS: "passed"}
    found = audited(protocol="open_target", **grid)
    assert found[TARGET_LABELS][0] == "failed"
    assert "model.head.centre" in found[TARGET_LABELS][1]
    assert verdicts(found)[TEST_LABELS] == "passed"


def test_target_labels_within_the_shots_may_be_used_and_an_oracle_may_use_all(
    installed: None, audited: Callable[..., Results]
) -> None:
    grid = {"protocol": "adaptation", "datasets": [PAIR]}
    assert verdicts(audited(methods=["uses_target"], shots=[3], **grid)) == HONEST | {TARGET_LABELS: "passed"}
    params = {"steps": 4, "checks": 2, "bottleneck": 4}
    oracle = audited(methods=[{"name": "target_oracle", "params": params}], shots=[0], **grid)
    assert oracle[TARGET_LABELS] == ("not applicable", "an oracle is given these labels, as it declares")
    assert verdicts(oracle)[TEST_LABELS] == "passed"


def test_predictions_that_hang_on_the_batch_are_found_unless_that_is_declared(
    installed: None, audited: Callable[..., Results]
) -> None:
    verdict, detail = audited(methods=["crowd"])[BATCHES]
    assert verdict == "failed"
    for what in (
        "the order of the examples",
        "the size of the batch",
        "which other examples are in the batch",
        "being alone",
    ):
        assert what in detail
    assert audited(methods=["honest_crowd"])[BATCHES] == ("declared", "")


@pytest.mark.parametrize(
    ("method", "check", "verdict", "detail"),
    [
        ("undeclared", RUNS, "failed", "but the method does not declare itself transductive"),
        ("declared", BATCHES, "declared", ""),
        ("by_order", BATCHES, "failed", "predictions depend on the order of the queries (by"),
        ("across", BATCHES, "failed", "predictions depend on the other episodes (by"),
    ],
)
def test_episodes_are_audited_too(
    installed: None, audited: Callable[..., Results], method: str, check: str, verdict: str, detail: str
) -> None:
    found = audited(methods=[method], **EPISODES)
    assert found[check][0] == verdict
    assert detail in found[check][1]
    if check != RUNS:
        assert verdicts(found)[TEST_LABELS] == "passed"


@pytest.mark.parametrize("method", ["nearest_centroid", {"name": "finetune", "params": {"epochs": 2}}])
def test_honest_learners_of_episodes_pass(audited: Callable[..., Results], method: object) -> None:
    assert verdicts(audited(methods=[method], **EPISODES)) == HONEST


def test_test_classes_reach_no_training(audited: Callable[..., Results]) -> None:
    params = {"episodes": 2, "check_every": 1, "checks": 2, "ways": 3, "queries": 2}
    assert verdicts(audited(methods=[{"name": "protonet", "params": params}], **EPISODES)) == HONEST


def test_what_is_random_anyway_is_told_from_a_leak(installed: None, audited: Callable[..., Results]) -> None:
    verdict, detail = audited(methods=["restless"])[TEST_LABELS]
    assert verdict == "failed"
    assert detail.endswith("but so it does when nothing was changed, in model.head.noise: not reproducible here")


def test_pre_training_on_the_target_is_audited(
    audited: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = {**TINY, "pretrain": {"method": "supervised", "dataset": "digits", "params": {"epochs": 1}}}
    grid = {"methods": ["nearest_centroid"], "backbones": [learnt], "shots": ["full"]}
    found = audited(**grid)
    assert verdicts(found) == HONEST | {BEYOND_THE_BUDGET: "not applicable", PRE_TRAINING: "passed"}
    assert found[BEYOND_THE_BUDGET][1] == "every training label is in the budget"

    def everything(dataset: Any, labelled: bool) -> Split:
        return Split(dataset.x, dataset.y, np.arange(len(dataset.y)))

    monkeypatch.setattr(leak_checks, "corpus", everything)
    verdict, detail = audited(**grid)[PRE_TRAINING]
    assert (verdict, detail) == ("failed", "supervised(epochs=1) is given other examples of digits")


def test_teachers_are_trained_anew_on_changed_labels_and_never_kept(
    installed: None, audited: Callable[..., Results], decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = {"method": "finetune", "params": {"epochs": 1}, "backbone": TINY}
    trained: list[str] = []
    fit_cell = teachers.fit_cell
    monkeypatch.setattr(teachers, "fit_cell", lambda cell, *rest: (trained.append(cell.id), fit_cell(cell, *rest))[1])
    kept = list((decoded / "teachers").glob("*")) if (decoded / "teachers").exists() else []
    found = audited(methods=[{"name": "copy", "teacher": teacher}])
    assert verdicts(found) == HONEST | {BEYOND_THE_BUDGET: "passed"}
    assert len(trained) == 3, "as it is, with other test labels, and with others beyond the budget"
    assert (list((decoded / "teachers").glob("*")) if (decoded / "teachers").exists() else []) == kept


def test_texts_are_audited_with_a_tokeniser_of_their_own(
    audited: Callable[..., Results], decoded: Path, tmp_path: Path
) -> None:
    file = tmp_path / "said.csv"
    words = {"food": "bread soup apple rice", "money": "bank card cash loan"}
    rows = [
        f"please {word} number {place},{label},{'test' if place % 3 == 0 else 'train'}"
        for label, text in words.items()
        for place, word in enumerate(text.split() * 6)
    ]
    file.write_text("\n".join(["text,label,split", *rows]))
    backbone = {"name": "text_tiny", "vocabulary": 512}
    found = audited(methods=["nearest_centroid"], backbones=[backbone], datasets=[{"name": "texts", "path": str(file)}])
    assert verdicts(found) == HONEST | {BEYOND_THE_BUDGET: "passed"}


# Changed labels


@pytest.fixture
def cells(tmp_path: Path, decoded: Path) -> list[Cell]:
    """A cell of each protocol."""
    one = planned(suite("one", {"methods": ["knn"], "shots": [1, 3, 20], "seeds": 2}), tmp_path, decoded)
    two = planned(suite("two", {"methods": ["nearest_centroid"], "seeds": 1, **EPISODES}), tmp_path, decoded)
    pair = {"protocol": "adaptation", "methods": ["source_only"], "datasets": [PAIR], "shots": [0, 5], "seeds": 1}
    return [*one, *two, *planned(suite("three", pair), tmp_path, decoded)]


def test_permuted_are_the_labels_of_what_is_scored_and_no_others(cells: list[Cell], worker_cache: WorkerCache) -> None:
    for cell in cells:
        data = worker_cache.dataset(cell.dataset)
        labels, rows = permute_test_labels(cell, data), scored_rows(cell, data)
        changed = np.flatnonzero(labels != data.y)
        assert set(changed) <= set(rows)
        assert len(changed) > 0.8 * len(rows)
        np.testing.assert_array_equal(np.sort(labels[rows]), np.sort(data.y[rows]))
        if cell.protocol.episodic:
            assert set(data.y[changed]) <= set(deal_classes(data.info)["test"])
        else:
            assert (data.part[changed] == TEST).all()


def test_relabelled_is_what_lies_beyond_the_budget_and_the_draw_stays(
    cells: list[Cell], worker_cache: WorkerCache
) -> None:
    for cell in (cell for cell in cells if not cell.protocol.episodic):
        data = worker_cache.dataset(cell.dataset)
        labels = permute_labels_beyond_budget(cell, data)
        changed = np.flatnonzero(labels != data.y)
        assert np.isin(data.part[changed], (TRAIN, VAL)).all()
        draws = [
            draw_shots(y, data.rows(TRAIN), cell.shots, cell.seed, data.info.fingerprint, groups=data.group)
            for y in (data.y, labels)
        ]
        for name in ("train", "val", "unlabeled"):
            np.testing.assert_array_equal(getattr(draws[0], name), getattr(draws[1], name))
        assert not set(changed) & {*draws[0].train, *draws[0].val}
        assert len(changed) > 0.5 * len(draws[0].unlabeled)


def test_where_examples_come_in_groups_the_draw_stays_too(
    tmp_path: Path, decoded: Path, worker_cache: WorkerCache
) -> None:
    grid = {"methods": ["knn"], "backbones": ["text_tiny"], "datasets": ["pydocs"], "shots": [5], "seeds": 1}
    (cell,) = planned(suite("grouped", grid), tmp_path, decoded)
    data = worker_cache.dataset(cell.dataset)
    assert data.group is not None
    labels = permute_labels_beyond_budget(cell, data)
    draws = [
        draw_shots(y, data.rows(TRAIN), cell.shots, cell.seed, data.info.fingerprint, groups=data.group)
        for y in (data.y, labels)
    ]
    for name in ("train", "val", "unlabeled"):
        np.testing.assert_array_equal(getattr(draws[0], name), getattr(draws[1], name))
    assert (labels != data.y).sum() > 0.2 * len(draws[0].unlabeled)


def test_a_separate_folder_shares_what_labels_cannot_change_and_keeps_the_rest(tmp_path: Path) -> None:
    whole = Artifacts(tmp_path / "whole")
    own = separate_artifacts(whole, tmp_path / "whole" / "audit" / "1")
    for kind in ("features", "pretrained", "teachers", "tokenizers", "running"):
        own.get(kind, "made", lambda folder: None)
    shared = {
        kind for kind in ("features", "pretrained", "teachers", "tokenizers", "running") if whole.has(kind, "made")
    }
    assert shared == {"features", "pretrained"}


# Traces


class Kept:
    """Holds what a method might."""

    __slots__ = ("inner",)

    def __init__(self, inner: object) -> None:
        self.inner = inner


def held(weight: float = 1.0, bias: float = 0.0) -> object:
    layer = nn.BatchNorm1d(2)
    with torch.no_grad():
        layer.weight.fill_(weight)
    centre, shift = torch.full((2,), bias), np.full(2, bias)

    def head(q: torch.Tensor) -> torch.Tensor:
        return layer(q) + centre

    return Kept([partial(head, scale=shift), {"layer": layer}])


def test_a_trace_sees_into_closures_partials_slots_and_modules() -> None:
    assert difference(model_trace(held()), model_trace(held())) == ""
    found = difference(model_trace(held()), model_trace(held(weight=2.0)))
    assert found.endswith("weight")
    found = difference(model_trace(held()), model_trace(held(bias=1.0)))
    assert "centre" in found
    assert "scale" in found


def test_a_trace_of_many_differences_names_a_few() -> None:
    layers = [nn.Sequential(*(nn.Linear(1, 1) for _ in range(4))) for _ in range(2)]
    assert difference(*map(model_trace, layers)).endswith(" and 5 more")


def test_a_trace_leaves_out_how_a_module_is_used() -> None:
    layer = nn.Linear(1, 1)
    before = model_trace(layer)
    assert model_trace(layer.eval()) == before


# What is kept, and told


def test_the_sample_is_the_cheapest_of_each_method_and_protocol(tmp_path: Path, decoded: Path) -> None:
    learnt = {**TINY, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 77}}}
    grid = {"methods": ["knn", "linear_probe"], "backbones": [learnt, TINY, PLAIN], "shots": ["full", 5, 1], "seeds": 2}
    cells = planned(suite("sampled", grid), tmp_path, decoded)
    names = [(cell.method.name, cell.backbone.info.label, cell.shots) for cell in cells]
    slow = [Timing(*names[place][:2], "digits", "classification", names[place][2], 9.0) for place in range(len(names))]
    measured = [t if "width=8" not in t.backbone else t._replace(seconds=1.0 + (t.shots != 5)) for t in slow]
    chosen = cheapest_cells(cells, Timings(measured), Artifacts(tmp_path))
    told = [(cell.method.name, cell.backbone.info.label, cell.shots, cell.seed) for cell in chosen]
    assert told == [("knn", "conv4(width=8)/random", 5, 0), ("linear_probe", "conv4(width=8)/random", 5, 0)]
    unmeasured = cheapest_cells(cells, Timings(), Artifacts(tmp_path))
    assert {(cell.backbone.info.weights, cell.shots) for cell in unmeasured} == {("random", 1)}


def test_test_data_are_compared_with_all_that_was_trained_on(
    tmp_path: Path, decoded: Path, worker_cache: WorkerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = {**TINY, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 1}}}
    one = planned(suite("one", {"methods": ["knn"], "backbones": [TINY, learnt]}), tmp_path, decoded)
    two = planned(suite("two", {"methods": ["nearest_centroid"], "seeds": 1, **EPISODES}), tmp_path, decoded)
    three = {"protocol": "adaptation", "methods": ["source_only"], "datasets": [PAIR], "shots": [0], "seeds": 1}
    cells = [*one, *two, *planned(suite("three", three), tmp_path, decoded)]
    opened = WorkerCache.dataset

    def copied(self: WorkerCache, choice: Any) -> Any:
        data = opened(self, choice)
        if data.info.name != "digits":
            return data
        x, test = data.x.copy(), data.rows(TEST)
        x[test[:3]] = x[data.rows(TRAIN)[5:8]]
        return replace(data, x=x)

    monkeypatch.setattr(WorkerCache, "dataset", copied)
    found = list(OverlapSearch(worker_cache).overlaps(cells))
    assert [(each.test, each.against, each.exact, each.near) for each in found] == [
        ("digits: test part", "digits: training part", 3, 0),
        ("digits: test part", "rendered_digits(images=600): pre-training corpus", 0, 0),
        ("glyphs: test classes", "glyphs: training classes", 0, 0),
        ("glyphs: test classes", "glyphs: validation classes", 0, 0),
        (
            "rendered_digits(images=600) -> digits: test part",
            "rendered_digits(images=600) -> digits: training part",
            0,
            0,
        ),
        (
            "rendered_digits(images=600) -> digits: test part",
            "rendered_digits(images=600) -> digits: source domain",
            0,
            0,
        ),
    ]
    data = worker_cache.dataset(one[0].dataset)
    assert [pair.row for pair in found[0].pairs] == data.rows(TRAIN)[5:8].tolist()
    assert (found[0].tests, found[0].trained, found[0].share) == (897, 900, 3 / 897)
    same = (data.y[data.rows(TEST)[:3]] == data.y[data.rows(TRAIN)[5:8]]).sum()
    assert found[0].same_class == same
    assert unknown_corpora(cells) == ()


def test_an_audit_is_kept_and_joined_by_later_ones_of_the_same_code(
    tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    file = tmp_path / "kept.yaml"
    file.write_text(json.dumps(suite("kept", {"methods": ["knn", "nearest_centroid"], "backbones": [TINY]})))
    workspace = Workspace.at(tmp_path / "workspace")
    prepared = prepare(file, workspace.artifacts)
    assert read_audit(workspace.root, "kept") is None

    first, path = audit(prepared, workspace, "method=knn seed=1")
    assert path == audit_file(workspace.root, "kept")
    assert read_audit(workspace.root, "kept") == first
    assert [cell.method for cell in first.cells] == ["knn"]
    second, _ = audit(prepared, workspace, "method=nearest_centroid seed=0")
    assert [cell.method for cell in second.cells] == ["knn", "nearest_centroid"]
    assert second.summary == "audited: 2 of 4 cells, all passed"
    assert not workspace.ledger().done(), "no result is written"

    older = second.cells[0].model_copy(update={"method_source": "older~code"})
    write_audit(workspace.root, second.model_copy(update={"cells": (older, second.cells[1])}))
    third, _ = audit(prepared, workspace, "method=nearest_centroid seed=1")
    assert [(cell.method, cell.seed) for cell in third.cells] == [("nearest_centroid", 0), ("nearest_centroid", 1)]

    path.write_text("{}")
    with pytest.raises(UserError, match="is no audit of this version"):
        read_audit(workspace.root, "kept")


def test_an_audit_tells_what_failed_and_escapes_what_users_name() -> None:
    checks = [
        {"check": TEST_LABELS, "verdict": "failed", "detail": "differs in [bold]model"},
        {"check": BATCHES, "verdict": "declared"},
    ]
    cell = AuditedCell(
        id="0" * 20, protocol="classification", method="m[red]", backbone="b", dataset="d", shots=1, seed=0,
        method_source="m", protocol_source="p", checks=checks,  # type: ignore[arg-type]
    )  # fmt: skip
    lines = list(cell_lines(cell))
    assert "m\\[red] | b | d | 1 shot | seed 0" in lines[0]
    assert "test labels [bold red]FAILED[/] · batches declared transductive" in lines[1]
    assert lines[2].strip() == f"{TEST_LABELS}: differs in \\[bold]model"
    found = Audit(
        suite="s", finished=0, version="", commit="", device="cpu", planned=1, cells=(cell,), overlaps=()
    )  # fmt: skip
    assert not found.passed
    assert found.summary == "audited: 1 of 1 cell, 1 failed"
    assert overlap_table(found).row_count == 0
    pair = Pair(test_row=3, row=5, distance=0.05, test_class="a", row_class="b", test_text="Go!", text="go")
    overlap = Overlap(
        test="t: test part", tests=10, against="[red]", trained=20, exact=0, near=1, same_class=0, expected=0.0,
        measure="texts", pairs=(pair,),
    )  # fmt: skip
    assert overlap_table(found.model_copy(update={"overlaps": (overlap,)})).row_count == 1
    (line,) = examples(overlap)
    assert line == "  row 3 (a) of t: test part and row 5 (b) of [red], 0.05 apart: 'Go!' | 'go'"


def test_an_audit_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    check = {"check": TEST_LABELS, "verdict": "passed", "detail": ""}
    cell = {
        "id": "0" * 20, "protocol": "classification", "method": "m", "backbone": "b", "dataset": "d", "shots": "full",
        "seed": 0, "method_source": "m", "protocol_source": "p", "proofs": [check],
    }  # fmt: skip
    audit_of_old = {
        "suite": "s", "finished": 0.0, "version": "0", "commit": "", "device": "cpu", "planned": 1, "cells": [cell],
        "overlaps": [], "unseen": ["b"],
    }  # fmt: skip
    file = audit_file(tmp_path, "s")
    file.parent.mkdir()
    file.write_text(json.dumps(audit_of_old))
    found = read_audit(tmp_path, "s")
    assert found is not None
    assert [result.check for result in found.cells[0].checks] == [TEST_LABELS]
    assert found.unknown_corpora == ("b",)
    write_audit(tmp_path, found)
    assert read_audit(tmp_path, "s") == found
