"""One place decides about leases, deaths, overruns and the budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_job_queue import backbone, cells

from tlbench.core.record import Cost, Outcome, Record
from tlbench.core.resources import Limits, Resources
from tlbench.planning.budget import Budget
from tlbench.runner import attempts as module
from tlbench.runner.attempts import LEASE_SECONDS, Attempts
from tlbench.runner.death import Death, WorkerDeathError
from tlbench.store.ledger import Ledger
from tlbench.worker.artifact_jobs import PretrainingJob

(CELL,) = cells(backbone("x"), 1)
WEIGHTS = PretrainingJob(backbone("p", pretrained=True))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture
def budget() -> Budget:
    return Budget(Limits(cpu_hours=1.0))


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def attempts(ledger: Ledger, budget: Budget, seen: list[str]) -> Attempts:
    return Attempts(ledger, "me", budget, Resources(cpus=2), lambda record: seen.append(record.id))


def done(seconds: float) -> Record:
    cost = Cost(seconds=seconds, train_seconds=0, cpu_seconds=0, peak_memory=0, gpus=0, cpus=2, started=0)
    return Record(cell=CELL.describe(), status="done", outcome=Outcome(scores={"accuracy": 0.5}), cost=cost)


def test_two_deaths_are_forgiven_and_the_third_has_the_cost_of_all(attempts: Attempts, budget: Budget) -> None:
    attempts.lease([CELL])
    assert attempts.after_death(Death(CELL, 10.0, "it was killed")) is None
    assert attempts.after_death(Death(CELL, 20.0, "it was killed")) is None
    error = attempts.after_death(Death(CELL, 30.0, "it was killed"))
    assert str(error) == "its worker died 3 times: it was killed"
    record = attempts.failure(CELL, error or RuntimeError())
    assert (record.cost.seconds, record.cost.cpus) == (60.0, 2)
    assert (record.error or {})["type"] == WorkerDeathError.__name__
    assert budget.spent["cpu"] == pytest.approx(2 * 60 / 3600), "every second is charged once"


def test_the_budget_pays_for_deaths_of_what_is_done_in_the_end(
    attempts: Attempts, budget: Budget, seen: list[str]
) -> None:
    attempts.lease([CELL])
    attempts.after_death(Death(CELL, 10.0))
    record = done(5.0)
    attempts.charge(record.cost)
    attempts.commit([record])
    assert budget.spent["cpu"] == pytest.approx(2 * 15 / 3600)
    assert seen == [CELL.id]
    assert attempts.committed == 1


def test_an_overrun_is_not_attempted_again(attempts: Attempts) -> None:
    error = attempts.after_death(Death(CELL, 100.0, "over the limit of 1 minutes a cell", overrun=True))
    assert str(error) == "over the limit of 1 minutes a cell"


def test_jobs_have_deaths_of_their_own(attempts: Attempts) -> None:
    for _ in range(2):
        assert attempts.after_death(Death(CELL, 1.0)) is None
        assert attempts.after_death(Death(WEIGHTS, 1.0)) is None
    assert str(attempts.after_death(Death(WEIGHTS, 1.0))) == "its worker died 3 times"


def test_nothing_starts_once_the_budget_is_used_up(attempts: Attempts) -> None:
    attempts.charge(1799.0)  # of two processors
    assert not attempts.budget_is_used_up
    attempts.charge(1.0)
    assert attempts.budget_is_used_up


def test_a_lost_lease_is_no_result_and_nobody_is_told(attempts: Attempts, ledger: Ledger, seen: list[str]) -> None:
    assert attempts.lease([CELL]) == {CELL.id}
    attempts.release(CELL)
    with Ledger(ledger.path) as other:
        assert other.lease([CELL.id], "other", 60)
        assert attempts.lease([CELL]) == set(), "another driver is at it"
        attempts.commit([done(1.0)])
    assert seen == []
    assert attempts.committed == 0
    assert list(ledger.records()) == []


def test_leases_are_renewed_in_time_and_not_all_the_time(
    attempts: Attempts, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, renewals = 0.0, []
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(ledger, "renew", lambda owner, seconds: renewals.append((now, seconds)))
    attempts = Attempts(ledger, "me", Budget(Limits()), Resources())
    for now in (1.0, 14.0, 16.0, 17.0, 32.0):  # noqa: B007
        attempts.renew()
    assert renewals == [(16.0, LEASE_SECONDS), (32.0, LEASE_SECONDS)]
