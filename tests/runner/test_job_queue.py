from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, Pretrain, ProtocolChoice, Teacher
from tlbench.core.info import BackboneInfo, DatasetInfo
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.job_queue import JobQueue
from tlbench.runner.worker_location import WorkerLocation
from tlbench.worker.artifact_jobs import PretrainingJob, TeacherJob

DATASET = DatasetInfo("d", "image", "fingerprint-d", ("a", "b"), (1, 8, 8), {"train": (5, 5), "test": (5, 5)})
METHOD = MethodChoice("m", {}, "m")
HERE = WorkerLocation("node", "store", 1)


def backbone(name: str, pretrained: bool = False) -> BackboneChoice:
    kind = "pretrain" if pretrained else "random"
    info = BackboneInfo(name, "fake", "image", name, {"name": name, "weights": {"kind": kind}})
    if not pretrained:
        return BackboneChoice(info, f"key-{name}")
    return BackboneChoice(info, f"key-{name}", Pretrain(METHOD, DatasetChoice("d", {}, DATASET), backbone(name), 0))


def cells(choice: BackboneChoice, count: int) -> Iterator[Cell]:
    for seed in range(count):
        yield Cell(
            f"{choice.key}-{seed}",
            ProtocolChoice("classification", 1, {}),
            METHOD,
            choice,
            DatasetChoice("d", {}, DATASET),
            1,
            seed,
        )


def pupils(choice: BackboneChoice, learnt_on: BackboneChoice, count: int, name: str = "t") -> list[Cell]:
    """Cells whose teacher is fitted on another backbone; each seed has a teacher of its own."""
    taught = replace(METHOD, teacher=Teacher(MethodChoice(name, {}, name), learnt_on, name))
    return [replace(cell, id=f"{name}-{cell.id}", method=taught) for cell in cells(choice, count)]


def queue_of(cells: list[Cell]) -> JobQueue:
    return JobQueue(cells, ArtifactGate())


def take_all(queue: JobQueue, slot: int) -> list[str]:
    taken = []
    while (job := queue.take(slot)) is not None:
        taken.append(job.id)
    return taken


def test_a_slot_stays_with_its_group_and_two_slots_take_different_ones() -> None:
    queue = queue_of([*cells(backbone("x"), 3), *cells(backbone("y"), 3)])
    assert queue.take(0).id == "key-x-0"
    assert queue.take(1).id == "key-y-0"
    assert [queue.take(0).id, queue.take(1).id, queue.take(0).id] == ["key-x-1", "key-y-1", "key-x-2"]


def test_a_slot_whose_group_is_empty_helps_another() -> None:
    queue = queue_of([*cells(backbone("x"), 1), *cells(backbone("y"), 3)])
    assert queue.take(0).id == "key-x-0"
    assert queue.take(1).id == "key-y-0"
    assert queue.take(0).id == "key-y-1"


def test_weights_come_once_and_first_and_their_cells_wait_for_them() -> None:
    queue = queue_of([*cells(backbone("x"), 1), *cells(backbone("p", pretrained=True), 2)])
    weights = queue.take(0)
    assert isinstance(weights, PretrainingJob)
    assert queue.take(1).id == "key-x-0"
    assert queue.take(1) is None
    assert len(queue) == 2
    queue.built(weights, HERE)
    assert take_all(queue, 1) == ["key-p-0", "key-p-1"]
    assert len(queue) == 0


def test_cells_of_weights_that_cannot_be_made_are_given_up_together() -> None:
    queue = queue_of([*cells(backbone("p", pretrained=True), 2)])
    weights = queue.take(0)
    assert [cell.id for cell in queue.failed(weights)] == ["key-p-0", "key-p-1"]
    assert len(queue) == 0
    assert queue.take(0) is None


def test_a_pupil_waits_for_its_weights_and_its_teacher_and_that_one_for_its_own_weights() -> None:
    p, q = backbone("p", pretrained=True), backbone("q", pretrained=True)
    queue = queue_of([*pupils(p, q, 2), *pupils(backbone("x"), q, 1)])
    first, second = queue.take(0), queue.take(1)
    assert {first.id, second.id} == {PretrainingJob(p).id, PretrainingJob(q).id}
    assert queue.take(2) is None
    assert len(queue) == 3
    queue.built(PretrainingJob(q), HERE)
    teachers = [queue.take(slot) for slot in (1, 2)]
    assert all(isinstance(make, TeacherJob) for make in teachers)
    assert {make.student.seed for make in teachers} == {0, 1}
    assert queue.take(3) is None, "one teacher for the cells of both backbones with the same draw"
    queue.built(next(make for make in teachers if make.student.seed == 0), HERE)
    assert take_all(queue, 1) == ["t-key-x-0"]
    queue.built(PretrainingJob(p), HERE)
    assert take_all(queue, 1) == ["t-key-p-0"]
    queue.built(next(make for make in teachers if make.student.seed == 1), HERE)
    assert take_all(queue, 1) == ["t-key-p-1"]
    assert len(queue) == 0


def test_weights_that_cannot_be_made_take_the_teachers_on_them_and_their_pupils_along() -> None:
    p, q = backbone("p", pretrained=True), backbone("q", pretrained=True)
    queue = queue_of([*pupils(p, q, 2), *cells(p, 1), *cells(q, 1)])
    assert {queue.take(0).id, queue.take(0).id} == {PretrainingJob(p).id, PretrainingJob(q).id}
    given_up = queue.failed(PretrainingJob(q))
    assert sorted(cell.id for cell in given_up) == ["key-q-0", "t-key-p-0", "t-key-p-1"]
    queue.built(PretrainingJob(p), HERE)
    assert take_all(queue, 0) == ["key-p-0"], "no teacher is trained for cells that were given up"
    assert len(queue) == 0


def test_a_teacher_is_not_trained_once_nobody_can_learn_from_it() -> None:
    p = backbone("p", pretrained=True)
    queue = queue_of([*pupils(p, backbone("x"), 1)])
    makes = {type(make): make for make in (queue.take(0), queue.take(0))}
    assert set(makes) == {TeacherJob, PretrainingJob}
    queue.put_back(makes[TeacherJob])
    assert len(queue.failed(makes[PretrainingJob])) == 1
    assert queue.take(0) is None
    assert len(queue) == 0


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_job_put_back_comes_first(pretrained: bool) -> None:
    queue = queue_of([*cells(backbone("x", pretrained), 2)])
    job = queue.take(0)
    queue.put_back(job)
    assert queue.take(0) is job


def test_every_cell_is_handed_out_exactly_once() -> None:
    everything = [cell for name in "uvwx" for cell in cells(backbone(name), 7)]
    queue = queue_of(everything)
    taken = []
    for turn in range(1000):
        job = queue.take(turn % 3)
        if job is None:
            break
        taken.append(job.id)
    assert sorted(taken) == sorted(cell.id for cell in everything)
