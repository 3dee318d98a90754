"""The driver's loop under deaths, overruns, budgets, failing pre-training, a second driver; almost all without Ray."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from small_suites import suite

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, Pretrain, ProtocolChoice, Teacher
from tlbench.core.info import BackboneInfo, DatasetInfo
from tlbench.core.record import Cost, Outcome, Record
from tlbench.core.resources import Limits, Resources
from tlbench.planning.budget import Budget
from tlbench.runner import scheduler as driver
from tlbench.runner.artifact_fetch import RemoteCopy
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.attempts import MAX_DEATHS, Attempts
from tlbench.runner.death import Death
from tlbench.runner.scheduler import Scheduler
from tlbench.runner.session import workers_that_fit
from tlbench.runner.slot_pool import Died, Finished
from tlbench.runner.worker_location import WorkerLocation
from tlbench.store.ledger import Ledger
from tlbench.worker.artifact_jobs import Job, PretrainingJob, TeacherJob

pytestmark = pytest.mark.timeout(100)  # a driver that hangs is a failure

DATASET = DatasetInfo("d", "image", "fingerprint", ("a", "b"), (1, 8, 8), {"train": (5, 5), "test": (5, 5)})
METHOD = MethodChoice("m", {}, "m")


def backbone(name: str = "plain", pretrained: bool = False) -> BackboneChoice:
    kind = "pretrain" if pretrained else "random"
    info = BackboneInfo(name, "fake", "image", name, {"name": name, "weights": {"kind": kind}})
    run = Pretrain(METHOD, DatasetChoice("d", {}, DATASET), backbone("start"), 0) if pretrained else None
    return BackboneChoice(info, f"key-{name}", run)


def cells(count: int, choice: BackboneChoice | None = None) -> list[Cell]:
    choice = choice or backbone()
    protocol, dataset = ProtocolChoice("classification", 1, {}), DatasetChoice("d", {}, DATASET)
    return [Cell(f"{choice.key}-{n}", protocol, METHOD, choice, dataset, 1, n) for n in range(count)]


def result(cell: Cell, seconds: float = 0.1) -> Record:
    cost = Cost(
        seconds=seconds, train_seconds=0, cpu_seconds=0, peak_memory=0, gpus=0, cpus=1, started=time.time() - seconds
    )
    return Record(cell=cell.describe(), status="done", outcome=Outcome(scores={"accuracy": 0.5}), cost=cost)


Behaviour = Callable[[Job, int], "str | float | Exception"]


@dataclass
class FakeSlots:
    """Slots in which a job ends as ``behave(job, how often it was submitted before)`` says.

    That is seconds that a cell is recorded with, an exception that its process raises, ``dies``, or ``hangs``.
    """

    behave: Behaviour
    number: int = 2
    resources: Resources = field(default_factory=Resources)
    submitted: Counter[str] = field(default_factory=Counter)
    started: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _jobs: dict[int, list[tuple[Job, float]]] = field(default_factory=dict)
    copies: dict[str, list[RemoteCopy]] = field(default_factory=dict)
    _stopped: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._jobs = {slot: [] for slot in range(self.number)}

    def __len__(self) -> int:
        return self.number

    def free(self, depth: int) -> list[int]:
        return [slot for slot, jobs in self._jobs.items() if len(jobs) < depth]

    def running(self) -> list[tuple[int, Job, float]]:
        return [(slot, jobs[0][0], time.monotonic() - jobs[0][1]) for slot, jobs in self._jobs.items() if jobs]

    def location(self, slot: int) -> WorkerLocation:
        return WorkerLocation(f"node-{slot}", f"store-{slot}", slot)

    def submit(self, slot: int, job: Job, attempt: int = 1, copies: Sequence[RemoteCopy] = ()) -> None:
        self.copies[job.id] = list(copies)
        self._jobs[slot].append((job, time.monotonic()))
        self.submitted[job.id] += 1
        self.most_at_once = max(self.most_at_once, sum(map(len, self._jobs.values())))

    def stop(self, slot: int, reason: str) -> None:
        self._stopped[slot] = reason

    def events(self, timeout: float) -> list[Finished | Died]:
        found = [event for slot in list(self._jobs) if (event := self._end(slot)) is not None]
        if not found:
            time.sleep(0.01)
        return found

    def _end(self, slot: int) -> Finished | Died | None:
        if not self._jobs[slot]:
            return None
        job, began = self._jobs[slot][0]
        seconds = time.monotonic() - began
        fate = self.behave(job, self.submitted[job.id] - 1)
        if slot in self._stopped or fate == "dies":
            queued = [other for other, _ in self._jobs[slot][1:]]
            self._jobs[slot].clear()
            reason = self._stopped.pop(slot, "")
            return Died(slot, Death(job, seconds, reason or "it was killed", overrun=bool(reason)), queued)
        if fate == "hangs":
            return None
        self._jobs[slot].pop(0)
        if isinstance(fate, Exception):
            return Finished(slot, job, self.location(slot), seconds, error=fate)
        assert isinstance(fate, float)
        self.started.append(job.id)
        record = result(job, fate) if isinstance(job, Cell) else None
        return Finished(slot, job, self.location(slot), seconds, record)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@dataclass
class Driven:
    """A scheduler that has run its cells, and what they have used."""

    scheduler: Scheduler
    budget: Budget


def drive(
    todo: list[Cell],
    slots: FakeSlots,
    ledger: Ledger,
    owner: str = "me",
    *,
    budget: Budget | None = None,
    limits: Limits | None = None,
    stopping: Callable[[], bool] = lambda: False,
    on_record: Callable[[Record], None] = lambda record: None,
) -> Driven:
    budget = budget or Budget(limits or Limits())
    attempts = Attempts(ledger, owner, budget, slots.resources, on_record)
    scheduler = Scheduler(todo, slots, attempts, ArtifactGate(), stopping)  # type: ignore[arg-type]
    scheduler.run()
    return Driven(scheduler, budget)


def by_id(ledger: Ledger) -> dict[str, Record]:
    return {record.id: record for record in ledger.records()}


def test_a_cell_whose_worker_always_dies_fails_after_three_deaths_and_the_others_are_done(ledger: Ledger) -> None:
    todo = cells(40)
    bad = todo[7].id
    slots = FakeSlots(lambda job, before: "dies" if job.id == bad else 0.1)
    done = drive(todo, slots, ledger)
    records = by_id(ledger)
    assert [name for name, record in records.items() if record.status == "failed"] == [bad]
    assert len(records) == 40
    assert done.budget.spent["cpu"] == pytest.approx(sum(record.cost.seconds for record in records.values()) / 3600)
    assert slots.submitted[bad] == MAX_DEATHS
    assert records[bad].error == {
        "type": "WorkerDeathError",
        "message": "its worker died 3 times: it was killed",
        "traceback": "",
    }
    assert max(count for name, count in slots.submitted.items() if name != bad) <= 1 + MAX_DEATHS, (
        "it cost others little"
    )
    assert all(slots.started.count(cell.id) == 1 for cell in todo if cell.id != bad)


def test_what_was_queued_behind_a_death_is_run_all_the_same(ledger: Ledger) -> None:
    todo = cells(40)
    asked: Counter[str] = Counter()

    def dies_with_a_cell_behind_it(job: Job, before: int) -> str | float:
        asked[job.id] += 1
        if asked[job.id] < 3:
            return "hangs"
        return "dies" if job.id == todo[7].id and not before else 0.1

    slots = FakeSlots(dies_with_a_cell_behind_it)
    drive(todo, slots, ledger)
    assert {record.status for record in by_id(ledger).values()} == {"done"}
    assert len(by_id(ledger)) == 40
    assert len([name for name, count in slots.submitted.items() if count == 2]) == 2


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_cell_whose_worker_died_once_or_twice_is_done(ledger: Ledger, deaths: int) -> None:
    todo = cells(6)
    drive(todo, FakeSlots(lambda job, before: "dies" if before < deaths else 0.1), ledger)
    assert {record.status for record in by_id(ledger).values()} == {"done"}
    assert len(ledger.attempts(todo[0].id)) == deaths + 1


def test_an_overlong_cell_is_stopped_with_that_reason_and_what_it_took(ledger: Ledger) -> None:
    todo = cells(6)
    slow = todo[2].id
    slots = FakeSlots(lambda job, before: "hangs" if job.id == slow else 0.1)
    limits = Limits(cell_minutes=0.3 / 60)
    done = drive(todo, slots, ledger, limits=limits)
    record = by_id(ledger)[slow]
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["message"] == "over the limit of 0.005 minutes a cell"
    assert slots.submitted[slow] == 1, "it would be as slow again"
    assert 0.3 < record.cost.seconds < 5
    assert record.cost.cpus == 1
    assert done.budget.spent["cpu"] == pytest.approx((5 * 0.1 + record.cost.seconds) / 3600)
    assert sum(other.status == "done" for other in by_id(ledger).values()) == 5


@pytest.mark.parametrize(("unit", "held"), [("cpu", Resources(cpus=1)), ("gpu", Resources(gpus=1))])
def test_a_cap_on_hours_lets_nothing_more_start(ledger: Ledger, unit: str, held: Resources) -> None:
    todo = cells(50)

    def behave(job: Job, before: int) -> float:
        return 36.0  # a hundredth of an hour

    slots = FakeSlots(behave, resources=held)
    spent = {"gpu": 0.0, "cpu": 0.0, unit: 0.01}
    if unit == "gpu":
        slots._end = as_if_on_a_gpu(slots)  # type: ignore[method-assign]
    done = drive(todo, slots, ledger, budget=Budget(Limits(**{f"{unit}_hours": 0.055}), spent))
    assert done.scheduler.over_budget
    # 0.01 was spent before; the fifth cell passes the cap, and one more was under way.
    assert 5 <= len(by_id(ledger)) <= 6
    assert slots.most_at_once == 2
    assert len(by_id(ledger)) == sum(slots.submitted.values()), "what was started is kept"


def as_if_on_a_gpu(slots: FakeSlots) -> Callable[[int], Finished | Died | None]:
    end = slots._end

    def ended(slot: int) -> Finished | Died | None:
        event = end(slot)
        if isinstance(event, Finished) and event.record is not None:
            cost = event.record.cost.model_copy(update={"gpus": 1.0, "cpus": 0.0})
            return replace(event, record=event.record.model_copy(update={"cost": cost}))
        return event

    return ended


def test_a_stop_lets_the_cells_under_way_end_and_starts_no_other(ledger: Ledger) -> None:
    slots = FakeSlots(lambda job, before: 36.0)
    stop = threading.Event()
    done = drive(cells(50), slots, ledger, stopping=stop.is_set, on_record=lambda record: stop.set())
    assert not done.scheduler.over_budget
    assert len(by_id(ledger)) == sum(slots.submitted.values()) == 2


@pytest.mark.parametrize(("seconds", "at_once"), [(0.1, 4), (100.0, 2)])
def test_only_short_cells_are_queued_behind_others(ledger: Ledger, seconds: float, at_once: int) -> None:
    asked: Counter[str] = Counter()

    def ends_when_asked_twice(job: Job, before: int) -> str | float:
        asked[job.id] += 1
        return seconds if asked[job.id] > 1 else "hangs"

    slots = FakeSlots(ends_when_asked_twice)
    drive(cells(50), slots, ledger)
    assert len(by_id(ledger)) == 50
    assert slots.most_at_once == at_once


def test_two_drivers_share_the_cells_and_run_none_twice(tmp_path: Path) -> None:
    todo = cells(60)
    gate = threading.Barrier(2, timeout=20)
    met: set[int] = set()

    def behave(job: Job, before: int) -> float:
        if threading.get_ident() not in met:  # neither starts before the other has cells under way
            met.add(threading.get_ident())
            gate.wait()
        time.sleep(0.002)
        return 0.1

    pools = [FakeSlots(behave), FakeSlots(behave)]
    heard: list[str] = []

    def one(number: int) -> None:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            order = todo if number == 0 else todo[::-1]
            drive(order, pools[number], ledger, f"driver {number}", on_record=lambda r: heard.append(r.id))

    with Ledger(tmp_path / "ledger.sqlite"):
        pass
    drivers = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(2)]
    for thread in drivers:
        thread.start()
    for thread in drivers:
        thread.join(60)
        assert not thread.is_alive(), "a driver hangs"
    ran = [set(pool.started) for pool in pools]
    assert not ran[0] & ran[1]
    assert ran[0] | ran[1] == {cell.id for cell in todo}
    assert all(ran), "both took part"
    assert sorted(heard) == sorted(cell.id for cell in todo), "each is told of once"
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert all(len(ledger.attempts(cell.id)) == 1 for cell in todo)


def test_a_driver_takes_over_what_a_dead_one_had_leased(ledger: Ledger) -> None:
    todo = cells(4)
    leased = threading.Event()

    def lease_and_die() -> None:
        with Ledger(ledger.path) as dead:
            assert len(dead.lease([cell.id for cell in todo[:3]], "dead driver", 3600)) == 3
            leased.set()
            time.sleep(0.7)

    late = threading.Thread(target=lease_and_die)
    late.start()
    assert leased.wait(20)
    slots = FakeSlots(lambda job, before: 0.1)
    drive(todo, slots, ledger)
    late.join()
    assert {record.status for record in by_id(ledger).values()} == {"done"}
    assert [len(ledger.attempts(cell.id)) for cell in todo] == [2, 2, 2, 1]


def test_a_result_whose_lease_was_lost_meanwhile_does_not_count(ledger: Ledger) -> None:
    (cell,) = cells(1)
    heard: list[str] = []

    def behave(job: Job, before: int) -> float:
        ledger.release([cell.id], "me")
        with Ledger(ledger.path) as other:
            other.lease([cell.id], "other", 60)
            other.commit(result(cell, seconds=7.0), 2)
        return 0.1

    drive([cell], FakeSlots(behave), ledger, on_record=lambda record: heard.append(record.id))
    assert heard == []
    assert by_id(ledger)[cell.id].cost.seconds == 7.0


def test_weights_come_before_their_cells_and_a_death_makes_them_again(ledger: Ledger) -> None:
    todo = [*cells(3, backbone("p", pretrained=True)), *cells(2)]
    slots = FakeSlots(lambda job, before: "dies" if isinstance(job, PretrainingJob) and before < 2 else 0.1)
    drive(todo, slots, ledger)
    assert {record.status for record in by_id(ledger).values()} == {"done"}
    weights = PretrainingJob(todo[0].backbone).id
    assert slots.submitted[weights] == 3
    assert slots.started.index(weights) < min(slots.started.index(cell.id) for cell in todo[:3])


@pytest.mark.parametrize(
    ("fate", "message"),
    [
        (OSError(28, "No space left on device"), "pre-training p failed: [Errno 28] No space left on device"),
        ("dies", "its worker died 3 times: it was killed"),
    ],
)
def test_pre_training_that_fails_fails_its_cells_with_the_reason_and_no_others(
    ledger: Ledger, fate: str | Exception, message: str
) -> None:
    todo = [*cells(3, backbone("p", pretrained=True)), *cells(2)]
    slots = FakeSlots(lambda job, before: fate if isinstance(job, PretrainingJob) else 0.1)
    drive(todo, slots, ledger)
    records = by_id(ledger)
    assert [records[cell.id].status for cell in todo] == ["failed"] * 3 + ["done"] * 2
    assert {(records[cell.id].error or {})["message"] for cell in todo[:3]} == {message}

    assert ledger.forget_failed(cell.id for cell in todo) == 3
    drive(todo[:3], FakeSlots(lambda job, before: 0.1), ledger, owner="later")
    assert {record.status for record in by_id(ledger).values()} == {"done"}


def pupils(count: int) -> list[Cell]:
    """Cells on a plain backbone that learn from a teacher on a pre-trained one, each seed from its own."""
    taught = replace(METHOD, teacher=Teacher(METHOD, backbone("p", pretrained=True), "p"))
    return [replace(cell, id=f"pupil-{cell.seed}", method=taught) for cell in cells(count)]


def test_weights_come_before_the_teacher_and_that_before_its_pupils_whoever_dies(ledger: Ledger) -> None:
    todo = [*pupils(3), *cells(2)]
    slots = FakeSlots(lambda job, before: "dies" if not isinstance(job, Cell) and before < 2 else 0.1)
    drive(todo, slots, ledger)
    assert {record.status for record in by_id(ledger).values()} == {"done"}
    order = {name: place for place, name in enumerate(slots.started)}
    assert len(order) == len(slots.started) == 1 + 3 + 5
    (weights,) = [name for name in order if name.startswith("pretrained-")]
    for pupil in todo[:3]:
        assert order[weights] < order[TeacherJob(pupil).id] < order[pupil.id]


@pytest.mark.parametrize(
    ("culprit", "failed", "message"),
    [
        (PretrainingJob, 3, "pre-training p failed: it broke"),
        (TeacherJob, 1, "training the teacher p failed: it broke"),
    ],
)
def test_a_teacher_that_cannot_be_trained_fails_its_pupils_with_the_reason_and_no_others(
    ledger: Ledger, culprit: type, failed: int, message: str
) -> None:
    todo = [*pupils(3), *cells(2)]
    bad = {TeacherJob(todo[0]).id, PretrainingJob(backbone("p", pretrained=True)).id}
    slots = FakeSlots(
        lambda job, before: RuntimeError("it broke") if isinstance(job, culprit) and job.id in bad else 0.1
    )
    drive(todo, slots, ledger)
    records = by_id(ledger)
    assert [records[cell.id].status for cell in todo] == ["failed"] * failed + ["done"] * (5 - failed)
    assert {(records[cell.id].error or {})["message"] for cell in todo[:failed]} == {message}


def test_an_exception_that_is_no_record_becomes_one(ledger: Ledger) -> None:
    todo = cells(3)
    slots = FakeSlots(lambda job, before: ValueError("cannot unpickle") if job.id == todo[1].id else 0.1)
    drive(todo, slots, ledger)
    record = by_id(ledger)[todo[1].id]
    assert record.status == "failed"
    assert record.error == {"type": "ValueError", "message": "cannot unpickle", "traceback": ""}
    assert slots.submitted[todo[1].id] == 1


def test_a_driver_without_a_slot_that_stands_waits_without_burning_the_processor(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when every machine of a cluster is gone for a while."""
    slots = FakeSlots(lambda job, before: 0.1)
    rounds = 0
    free, events = slots.free, slots.events

    def none_at_first(depth: int) -> list[int]:
        return free(depth) if rounds > 3 else []

    def wait(timeout: float) -> list[Finished | Died]:
        nonlocal rounds
        rounds += 1
        assert timeout == driver._WAIT
        return events(timeout)

    monkeypatch.setattr(slots, "free", none_at_first)
    monkeypatch.setattr(slots, "events", wait)
    drive(cells(3), slots, ledger)
    assert len(by_id(ledger)) == 3


@pytest.mark.parametrize(
    ("machine", "resources", "room"),
    [
        ({"CPU": 8.0, "GPU": 1.0}, Resources(gpus=0.2), 5),
        ({"CPU": 8.0, "GPU": 1.0}, Resources(gpus=0.1), 8),
        ({"CPU": 8.0, "GPU": 2.0}, Resources(cpus=4, gpus=0.5), 2),
        ({"CPU": 8.0}, Resources(cpus=3), 2),
        ({"CPU": 8.0}, Resources(gpus=1), 0),
        ({"CPU": 0.0, "GPU": 4.0}, Resources(gpus=1), 0),
    ],
)
def test_a_machine_has_room_for_as_many_workers_as_fit(
    machine: dict[str, float], resources: Resources, room: int
) -> None:
    assert workers_that_fit(machine, resources) == room


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_on_ray_an_overlong_cell_is_stopped_and_its_slot_replaced(
    tmp_path: Path, write_suite: Callable[[dict[str, Any]], Path], tlbench: Any
) -> None:
    endless = {"name": "finetune", "params": {"epochs": 1_000_000}}
    grid = {"methods": [endless, "nearest_centroid"], "shots": [5], "seeds": 3}
    path = write_suite(suite("endless", grid, limits={"cell_minutes": 0.4}))
    ran = tlbench("run", str(path), "--workspace", str(tmp_path / "workspace"))
    assert ran.returncode == 1
    assert "3 cells failed" in ran.stderr, ran.stderr
    with Ledger(tmp_path / "workspace" / "ledger.sqlite") as ledger:
        records = list(ledger.records())
        attempts = {record.id: len(ledger.attempts(record.id)) for record in records}
    failed = [record for record in records if record.status == "failed"]
    assert len(records) == 6
    assert {record.cell.method for record in failed} == {"finetune"}
    for record in failed:
        assert record.error is not None
        assert record.error["message"] == "over the limit of 0.4 minutes a cell"
        assert 24 <= record.cost.seconds < 60
        assert attempts[record.id] == 1
