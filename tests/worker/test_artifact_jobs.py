"""Jobs say what must be built before a cell, and name it alike in every process."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

from small_suites import CORPUS, FINETUNE, PLAIN, PRETRAINED, planned, suite

from tlbench.core.cell import Cell
from tlbench.worker.artifact_jobs import PRETRAINED as WEIGHTS
from tlbench.worker.artifact_jobs import TEACHERS, ArtifactName, PretrainingJob, TeacherJob, required_artifacts

CHAINED = {**PLAIN, "pretrain": {**PRETRAINED["pretrain"], "dataset": CORPUS, "after": PRETRAINED["pretrain"]}}
TEACHER = {"method": "finetune", "params": FINETUNE["params"], "backbone": PRETRAINED}


def one_cell(folder: Path, decoded: Path, **grid: Any) -> Cell:
    (cell,) = planned(suite("one", {"methods": ["nearest_centroid"], "seeds": 1} | grid), folder, decoded)
    return cell


def test_a_cell_on_random_weights_requires_nothing(tmp_path: Path, decoded: Path) -> None:
    assert required_artifacts(one_cell(tmp_path, decoded)) == []


def test_a_chain_of_pre_training_is_required_run_by_run(tmp_path: Path, decoded: Path) -> None:
    cell = one_cell(tmp_path, decoded, backbones=[CHAINED])
    (last,) = required_artifacts(cell)
    assert last == PretrainingJob(cell.backbone)
    (first,) = required_artifacts(last)
    assert first == PretrainingJob(cell.backbone.runs[1].start)
    assert required_artifacts(first) == []
    assert first.artifact == ArtifactName(WEIGHTS, cell.backbone.runs[1].start.artifact)
    assert last.label == f"pre-training {cell.backbone.info.label}"


def test_a_student_requires_its_teacher_and_that_one_its_weights(tmp_path: Path, decoded: Path) -> None:
    distillation = {"name": "distillation", "params": {"epochs": 1}, "teacher": TEACHER}
    cell = one_cell(tmp_path, decoded, methods=[distillation], backbones=[PRETRAINED])
    weights, teacher = required_artifacts(cell)
    assert isinstance(weights, PretrainingJob)
    assert teacher == TeacherJob(cell)
    assert teacher.artifact.kind == TEACHERS
    assert required_artifacts(teacher) == [weights], "the student's backbone has the same weights as the teacher's"
    assert cell.method.teacher is not None
    assert teacher.label == f"training the teacher {cell.method.teacher.label}"


def test_jobs_of_the_same_artifact_have_the_same_id_in_every_process(tmp_path: Path, decoded: Path) -> None:
    cell = one_cell(tmp_path, decoded, backbones=[PRETRAINED])
    (job,) = required_artifacts(cell)
    (other,) = required_artifacts(replace(cell, seed=7, shots=3))
    copy = pickle.loads(pickle.dumps(job))
    assert job.id == other.id == copy.id == f"pretrained-{cell.backbone.artifact}"
