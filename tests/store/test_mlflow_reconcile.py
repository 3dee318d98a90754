from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from plausible import make_record

from tlbench.core.record import Record
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow.reconcile import ABANDONED_S, Decision, Reconciler, RefusedError, Run, decide, writer_tag

RECORD = make_record("a")
FAILURE = make_record("a", failed=True)


def run(name: str, digest: str = RECORD.digest, status: str = "FINISHED", written_by: str = "") -> Run:
    return Run(name, status, "a", digest, written_by)


def test_of_equal_runs_the_smallest_id_stays() -> None:
    decision = decide(RECORD, [run("3"), run("1"), run("2")], {})
    assert decision.keep == run("1")
    assert decision.delete == (run("2"), run("3"))


def test_another_result_is_a_conflict_unless_it_was_retracted() -> None:
    other = run("1", "other")
    assert decide(RECORD, [other], {}).conflict == other
    assert decide(RECORD, [other, run("2")], {}).conflict == other
    decision = decide(RECORD, [other, run("2")], {"other": 1.0})
    assert (decision.keep, decision.delete, decision.conflict) == (run("2"), (other,), None)


def test_success_replaces_failure_and_not_the_other_way_round() -> None:
    failed = run("1", FAILURE.digest, "FAILED")
    assert decide(RECORD, [failed, run("2")], {}).delete == (failed,)
    decision = decide(FAILURE, [failed, run("2")], {})
    assert (decision.keep, decision.delete) == (run("2"), (failed,))
    assert decide(FAILURE, [failed, run("2")], {RECORD.digest: 1.0}).keep == failed  # forced again, and failed


def test_an_equal_result_that_was_retracted_makes_way_for_that_of_the_code_of_now() -> None:
    old, new = run("1", written_by="me 100"), run("2", written_by="me 300")
    assert decide(RECORD, [old], {RECORD.digest: 200.5}) == Decision(None, (old,))
    assert decide(RECORD, [old, new], {RECORD.digest: 200.5}) == Decision(new, (old,))
    assert decide(RECORD, [old], {}) == Decision(old)
    assert decide(RECORD, [old], {"other": 200.5}) == Decision(old)


class Shelf:
    """An experiment in memory."""

    def __init__(self, *runs: Run) -> None:
        self.runs = {each.id: each for each in runs}
        self.refuses: set[str] = set()

    def find(self, cells: Collection[str]) -> list[Run]:
        return [each for each in self.runs.values() if each.cell in cells]

    def running(self) -> list[Run]:
        return [each for each in self.runs.values() if each.status == "RUNNING"]

    def write(self, record: Record) -> None:
        name = f"run{len(self.runs)}"
        written = Run(name, "FINISHED", record.id, record.digest, writer_tag("me"))
        self.runs[name] = replace(written, status="RUNNING") if record.id in self.refuses else written
        if record.id in self.refuses:
            raise RefusedError("bad record")

    def delete(self, run_id: str) -> None:
        del self.runs[run_id]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "l") as ledger:
        attempts = ledger.lease("abc", "me", 60)
        ledger.claim("s", "abc", {})
        ledger.commit_many([(make_record(cell), attempts[cell]) for cell in "abc"])
        yield ledger


def test_a_refused_or_conflicting_record_holds_nothing_else_up(ledger: Ledger) -> None:
    shelf = Shelf(run("0", "other"))
    shelf.refuses = {"b"}
    reconciler = Reconciler(ledger, shelf, ledger.tracking_state("s", "here"), "me")
    assert reconciler.write_pending() == 1
    assert sorted((each.cell, each.status) for each in shelf.runs.values()) == [("a", "FINISHED"), ("c", "FINISHED")]
    assert shelf.runs["0"].digest == "other"
    assert set(reconciler.problems) == {"a", "b"}
    assert "another result (run 0, digest other" in reconciler.problems["a"]
    assert "bad record" in reconciler.problems["b"]
    assert reconciler.pending() == {}
    assert set(ledger.tracking_state("s", "here").missing()) == {"a", "b"}


def test_abandoned_runs_are_deleted_and_runs_under_way_are_left_to_their_writers(ledger: Ledger) -> None:
    long_ago = f"you {time.time() - ABANDONED_S - 5:.0f}"
    shelf = Shelf(
        run("mine", status="RUNNING", written_by=writer_tag("me")),
        run("old", status="RUNNING", written_by=long_ago),
        run("yours", status="RUNNING", written_by=writer_tag("you")),
    )
    Reconciler(ledger, shelf, ledger.tracking_state("s", "here"), "me").delete_abandoned()
    assert set(shelf.runs) == {"yours"}


def test_a_forced_cell_takes_the_place_of_its_older_run(ledger: Ledger) -> None:
    shelf = Shelf()
    Reconciler(ledger, shelf, ledger.tracking_state("s", "here"), "me").write_pending()
    ledger.forget("a")
    better = make_record("a", accuracy=0.9)
    ledger.commit(better, ledger.lease("a", "me", 60)["a"])
    assert Reconciler(ledger, shelf, ledger.tracking_state("s", "here"), "me").write_pending() == 1
    assert [each.digest for each in shelf.find("a")] == [better.digest]


def test_runs_of_cells_that_the_suite_dropped_are_deleted_and_come_back_with_them(ledger: Ledger) -> None:
    foreign = Run("theirs", "FINISHED", "c", "theirs", writer_tag("you"))
    shelf = Shelf()
    reconciler = Reconciler(ledger, shelf, ledger.tracking_state("s", "here"), "me")
    assert reconciler.write_pending() == 3
    shelf.runs["theirs"] = foreign
    ledger.claim("s", "ab", {})
    assert ledger.tracking_state("s", "here").unlisted() == ["c"]
    reconciler.delete_unlisted()
    assert sorted(each.cell for each in shelf.runs.values() if each is not foreign) == ["a", "b"]
    assert "theirs" in shelf.runs, "what another ledger wrote is not ours to delete"
    assert ledger.tracking_state("s", "here").unlisted() == []
    assert "c" in ledger.done()
    del shelf.runs["theirs"]
    ledger.claim("s", "abc", {})
    assert reconciler.write_pending() == 1
    assert sorted(each.cell for each in shelf.runs.values()) == ["a", "b", "c"]
