"""A teacher is trained once, on the very labels of the cells that learn from it, and shared by all of them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from one_process import Stop, done, new_cache, observe_epochs, stop_at
from small_suites import CORPUS, digests, planned, suite

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.store.artifacts import Artifacts
from tlbench.worker import fit_cell as fitting
from tlbench.worker import teacher as teachers
from tlbench.worker.artifact_jobs import TeacherJob, teacher_key
from tlbench.worker.artifact_transfer import store_weights_file
from tlbench.worker.run_cell import run_cell

TINY = {"name": "conv4", "width": 4}
PRETRAINED = {**TINY, "width": 8, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 1}}}
FINETUNE = {"method": "finetune", "params": {"epochs": 2}}
TEACHER = {**FINETUNE, "backbone": PRETRAINED}
COPY = {"name": "copy", "teacher": TEACHER}


@pytest.fixture
def own(tmp_path: Path, decoded: Path) -> Path:
    """An artifact folder with decoded data and nothing else."""
    planned(suite("opens", {"datasets": ["digits", CORPUS]}), tmp_path, decoded)
    shutil.copytree(decoded / "datasets", tmp_path / "own" / "datasets")
    return tmp_path / "own"


def student_cells(folder: Path, artifacts: Path, *entries: dict[str, Any], seeds: int = 1, **grid: Any) -> list[Cell]:
    given = {"methods": list(entries) or [COPY], "backbones": [TINY], "seeds": seeds}
    return planned(suite("students", given | grid), folder, artifacts)


def teacher_files(artifacts: Path) -> list[Path]:
    return sorted((artifacts / "teachers").glob("*/*.safetensors"))


def test_a_teacher_is_trained_once_a_seed_and_is_the_network_of_its_method_s_own_cell(
    methods: Path, own: Path, tmp_path: Path
) -> None:
    cells = student_cells(tmp_path, own, COPY, {**COPY, "params": {"scale": 2.0}}, seeds=2)
    finetune = {"name": "finetune", "params": FINETUNE["params"]}
    own_cells = planned(suite("own", {"methods": [finetune], "backbones": [PRETRAINED], "seeds": 2}), tmp_path, own)
    assert [cell.teacher for cell in cells] == own_cells * 2

    cache = new_cache(own)
    trained: list[str] = []
    record = {cell.id: done(cell, cache) for cell in own_cells}
    with pytest.MonkeyPatch.context() as patch:
        fit_cell = teachers.fit_cell
        patch.setattr(teachers, "fit_cell", lambda cell, *rest: (trained.append(cell.id), fit_cell(cell, *rest))[1])
        for cell in cells:
            outcome, expected = done(cell, cache).outcome, record[cell.teacher.id].outcome  # type: ignore[union-attr]
            assert outcome is not None
            assert expected is not None
            assert outcome.correct == expected.correct
            assert (outcome.logits == expected.logits) == (cell.method.params["scale"] == 1.0)
    assert sorted(trained) == sorted(cell.id for cell in own_cells)
    assert len(teacher_files(own)) == 2
    for file in teacher_files(own):
        told = json.loads((file.parent / "training.json").read_text())
        expected = record[told["cell"]["id"]].outcome
        assert expected is not None
        assert (told["scores"], told["validation"]) == (expected.scores, expected.validation)
        assert told["seconds"] > 0
    assert not list((own / "running").iterdir()), "nothing is left behind"

    other = student_cells(tmp_path, own, shots=[10])
    done(other[0], cache)
    assert len(teacher_files(own)) == 3, "other labels, another teacher"


def test_a_teacher_is_not_on_the_bill_of_the_first_cell_that_uses_it(
    methods: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_cell = teachers.fit_cell
    monkeypatch.setattr(teachers, "fit_cell", lambda *args: (time.sleep(1.5), fit_cell(*args))[1])
    began = time.monotonic()
    cost = done(student_cells(tmp_path, own)[0], new_cache(own)).cost
    assert time.monotonic() - began > 1.5
    assert cost.seconds < 1.5
    assert cost.train_seconds < 1.5
    shared = {each.kind: each for each in cost.shared}
    assert shared.keys() == {"teacher", "pre-training"}, "that of the teacher's backbone"
    assert shared["teacher"].seconds is not None
    assert shared["teacher"].seconds > 1.5
    assert shared["teacher"].device_seconds is not None
    assert 0 < shared["teacher"].device_seconds < shared["teacher"].seconds


def test_whatever_a_method_does_to_its_teacher_the_next_cell_s_is_as_it_was(
    methods: Path, own: Path, tmp_path: Path
) -> None:
    spoils = {**COPY, "params": {"spoil": True}}
    cells = {cell.method.params["spoil"]: cell for cell in student_cells(tmp_path, own, spoils, COPY)}
    expected = done(cells[False], new_cache(own))
    cache = new_cache(own)
    assert done(cells[True], cache).outcome != expected.outcome
    assert done(cells[False], cache).digest == expected.digest


def test_a_stopped_teacher_continues_and_ends_with_the_same_bytes(
    methods: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = {**COPY, "teacher": {**TEACHER, "params": {"epochs": 5}}}
    (cell,) = student_cells(tmp_path, own, longer)
    straight = done(cell, new_cache(own))
    (file,) = teacher_files(own)
    expected = file.read_bytes()
    shutil.rmtree(file.parent)

    observe_epochs(monkeypatch, fitting, stop_at(3))
    with pytest.raises(Stop):
        run_cell(cell, new_cache(own))
    assert teacher_files(own) == []
    epochs: list[int] = []
    observe_epochs(monkeypatch, fitting, lambda done, total: epochs.append(done))
    resumed = done(cell, new_cache(own))
    assert epochs == [3, 4, 5]
    assert file.read_bytes() == expected
    assert resumed.digest == straight.digest
    assert not list((own / "running").iterdir()), "nothing is left behind"


def test_a_teacher_carried_over_is_used_as_it_is_without_the_weights_it_started_from(
    methods: Path, own: Path, tmp_path: Path
) -> None:
    (cell,) = student_cells(tmp_path, own)
    expected = done(cell, new_cache(own)).digest
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(own / "datasets", elsewhere / "datasets")
    store_weights_file(Artifacts(elsewhere), TeacherJob(cell).artifact, teacher_files(own)[0].read_bytes())
    assert done(cell, new_cache(elsewhere)).digest == expected
    assert [path.name for path in (elsewhere / "teachers").glob("*/*")] == ["weights.safetensors"]
    assert not (elsewhere / "pretrained").exists()


def test_a_teacher_is_named_by_its_recipe_and_a_raised_version_makes_another_file(
    methods: Path, own: Path, tmp_path: Path
) -> None:
    (cell,) = student_cells(tmp_path, own)
    teacher = cell.method.teacher
    assert teacher is not None
    raised = replace(teacher, method=replace(teacher.method, version=2))
    after = replace(cell, method=replace(cell.method, teacher=raised))
    assert after.teacher is not None
    assert teacher_key(after) != teacher_key(cell)
    done(cell, new_cache(own))
    (before,) = teacher_files(own)
    done(after, new_cache(own))
    assert before in teacher_files(own)
    assert len(teacher_files(own)) == 2


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("parts", "odd cannot train a teacher: its network has other parts"),
        ("answers", "odd cannot train a teacher: its network answers otherwise once it has been rebuilt"),
        ("kind", "odd cannot train a teacher: it returns a Other"),
        ("fails", "no such luck"),
    ],
)
def test_a_network_that_cannot_be_rebuilt_is_refused_as_a_teacher(
    methods: Path, own: Path, tmp_path: Path, how: str, reason: str
) -> None:
    (cell,) = student_cells(
        tmp_path, own, {**COPY, "teacher": {"method": "odd", "params": {"how": how}, "backbone": TINY}}
    )
    record = run_cell(cell, new_cache(own))
    assert record.error is not None
    assert record.error["message"].startswith(reason)
    assert teacher_files(own) == []


def test_a_baseline_with_a_teacher_is_found_by_name_and_by_label(methods: Path, own: Path, tmp_path: Path) -> None:
    grid = {"methods": [COPY, {**COPY, "params": {"scale": 2.0}}, "knn"], "backbones": [TINY]}
    label = "copy(teacher=conv4(width=8)/supervised(epochs=1)@rendered_digits(images=600)/finetune(epochs=2))"
    for baseline, fits in ((label, True), ("copy", False), ("copy(scale=3.0)", False)):
        named = suite("named", grid, baseline=baseline)
        if fits:
            assert label in {cell.method.label for cell in planned(named, tmp_path, own)}
            continue
        with pytest.raises(UserError, match=r"named\.yaml:1: baseline 'copy"):
            planned(named, tmp_path, own)


@pytest.mark.slow
def test_on_slots_each_teacher_is_trained_by_one_of_them_and_the_end_is_that_of_one_process(
    methods: Path,
    own: Path,
    tmp_path: Path,
    environment: dict[str, str],
    write_suite: Callable[[dict[str, Any]], Path],
    tlbench: Any,
) -> None:
    broken = {**COPY, "teacher": {"method": "odd", "params": {"how": "fails"}, "backbone": TINY}}
    grid = {"methods": [COPY, {**COPY, "params": {"scale": 2.0}}, broken, "knn"], "backbones": [TINY], "seeds": 3}
    content = suite("slots", grid)
    path = write_suite(content)
    shared = tmp_path / "shared"
    shutil.copytree(own / "datasets", shared / "datasets")
    found = environment.get("PYTHONPATH", "")
    there = {"TLBENCH_ARTIFACTS": str(shared), "PYTHONPATH": f"{methods}:{found}"}
    ran = tlbench("run", str(path), "--workspace", str(tmp_path / "workspace"), env=there)
    assert ran.returncode == 1, ran.stderr
    assert "3 failed" in ran.stdout + ran.stderr
    told = [file.parent / "training.json" for file in teacher_files(shared)]
    assert len(told) == 3
    assert all(file.exists() for file in told)
    assert len(list((shared / "pretrained").glob("*/training.json"))) == 1
    seen = digests(tmp_path / "workspace")
    assert len(seen) == 12
    cache = new_cache(own)
    for cell in planned(content, tmp_path, own):
        if "odd" not in cell.method.label:
            assert done(cell, cache).digest == seen[cell.id]
    shown = tlbench("status", str(path), "--workspace", str(tmp_path / "workspace"), env=there)
    assert "training the teacher conv4(width=4)/random/odd(how=fails) failed: no such luck" in shown.stdout
