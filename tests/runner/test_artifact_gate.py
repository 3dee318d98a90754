"""Who builds an artifact, who waits for it, and from where it is fetched."""

from __future__ import annotations

from dataclasses import replace

from test_job_queue import backbone, cells, pupils

from tlbench.runner.artifact_fetch import RemoteCopy
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.worker_location import WorkerLocation
from tlbench.worker.artifact_jobs import PretrainingJob, TeacherJob

HERE, THERE = WorkerLocation("here", "folder here", 1), WorkerLocation("there", "folder there", 2)
BESIDE = replace(HERE, pid=3)
P, Q = backbone("p", pretrained=True), backbone("q", pretrained=True)
WEIGHTS = PretrainingJob(P)


def test_what_one_trial_builds_blocks_others_until_it_is_there() -> None:
    gate = ArtifactGate()
    (trial,), (other,) = cells(P, 1), cells(Q, 1)
    assert gate.missing(trial) == [WEIGHTS]
    assert not gate.blocked(trial), "nobody builds it yet"
    gate.begin(WEIGHTS)
    assert gate.blocked(trial)
    assert not gate.blocked(other)
    gate.abandon(WEIGHTS)
    assert gate.missing(trial) == [WEIGHTS], "its builder died"
    assert not gate.blocked(trial)
    gate.begin(WEIGHTS)
    gate.built(WEIGHTS, HERE)
    assert not gate.blocked(trial)
    assert gate.missing(trial) == []


def test_nobody_waits_for_what_cannot_be_built_until_the_next_stage() -> None:
    gate = ArtifactGate()
    (trial,) = cells(P, 1)
    gate.begin(WEIGHTS)
    gate.failed(WEIGHTS)
    assert gate.missing(trial) == []
    assert gate.copies_for(trial) == []
    gate.start_stage(frozenset({"here"}))
    assert gate.missing(trial) == [WEIGHTS]


def test_a_worker_fetches_what_its_folder_lacks_from_a_machine_that_has_it() -> None:
    gate = ArtifactGate()
    (cell,) = cells(P, 1)
    copy = RemoteCopy(WEIGHTS.artifact, "there")
    assert gate.copies_for(cell, HERE) == []
    gate.built(WEIGHTS, THERE)
    assert gate.copies_for(cell, HERE) == [copy]
    assert gate.copies_for(cell, THERE) == []
    assert gate.copies_for(cell) == [copy]
    gate.passed(cell, HERE)
    assert gate.copies_for(cell, BESIDE) == [], "workers with the same folder share files"


def test_cells_start_at_once_where_a_search_has_built_what_they_need_unless_that_machine_is_lost() -> None:
    gate = ArtifactGate()
    (cell,) = cells(P, 1)
    gate.built(WEIGHTS, THERE)
    gate.start_stage(frozenset({"here", "there"}))
    assert gate.admit(cell) == [cell]
    assert gate.copies_for(cell, HERE) == [RemoteCopy(WEIGHTS.artifact, "there")]

    gate.start_stage(frozenset({"here"}))
    assert gate.missing(cell) == [WEIGHTS]
    assert gate.copies_for(cell, HERE) == []


def test_admitted_jobs_come_back_once_when_all_that_they_require_is_there() -> None:
    gate = ArtifactGate()
    (pupil,) = pupils(P, Q, 1)
    teacher = TeacherJob(pupil)
    assert gate.admit(pupil) == [PretrainingJob(P), PretrainingJob(Q)]
    assert gate.is_wanted(PretrainingJob(Q))
    assert gate.built(PretrainingJob(P), HERE) == []
    assert gate.built(PretrainingJob(Q), HERE) == [teacher]
    assert gate.built(PretrainingJob(Q), THERE) == []
    assert gate.built(teacher, THERE) == [pupil]
    assert not gate.is_wanted(teacher)
    assert gate.copies_for(teacher, THERE) == [], "whoever trained the teacher had its weights"


def test_a_failure_takes_along_what_depends_on_it_and_no_more() -> None:
    gate = ArtifactGate()
    (pupil,), (plain,) = pupils(P, Q, 1), cells(P, 1)
    assert gate.admit(pupil) == [PretrainingJob(P), PretrainingJob(Q)]
    assert gate.admit(plain) == []
    assert gate.failed(PretrainingJob(Q)) == [pupil]
    assert not gate.is_wanted(TeacherJob(pupil))
    assert gate.built(PretrainingJob(P), HERE) == [plain]
