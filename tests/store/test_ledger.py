from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from plausible import make_record

from tlbench.core.cost import Timing
from tlbench.core.errors import UserError
from tlbench.core.record import ResultInfo
from tlbench.store.ledger import Ledger

FORK = multiprocessing.get_context("fork")


def name(number: int) -> str:
    return f"{number:020x}"


def commit_forever(path: Path, told: int) -> None:
    """Commit cells in the order of their names, telling each one after it was committed."""
    with Ledger(path) as ledger:
        number = len(ledger.done())
        while True:
            group = [make_record(name(number + extra)) for extra in range(random.choice((1, 1, 3)))]
            attempts = ledger.lease([record.id for record in group], f"driver {os.getpid()}", 60)
            ledger.commit_many([(record, attempts[record.id]) for record in group])
            number += len(group)
            os.write(told, number.to_bytes(8, "big"))


def assert_prefix(ledger: Ledger, at_least: int = 0) -> int:
    ids = [record.id for record in ledger.records()]
    assert ids == [name(number) for number in range(len(ids))]
    assert ledger.done() == dict.fromkeys(ids, "done")
    assert len(ids) >= at_least
    return len(ids)


def test_a_driver_killed_at_random_moments_loses_nothing_that_it_committed(tmp_path: Path) -> None:
    path, kept = tmp_path / "ledger.sqlite", 0
    for _ in range(25):
        reading, writing = os.pipe()
        driver = FORK.Process(target=commit_forever, args=(path, writing), daemon=True)
        driver.start()
        os.close(writing)
        first = os.read(reading, 8)
        time.sleep(random.uniform(0, 0.05))
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGKILL)
        driver.join()
        told = first
        while block := os.read(reading, 8):
            told = block
        os.close(reading)
        with Ledger(path) as ledger:
            kept = assert_prefix(ledger, at_least=int.from_bytes(told, "big"))
    assert kept >= 25
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("harm", ["cut", "garble"])
def test_a_log_that_ends_or_breaks_at_any_byte_leaves_a_prefix_of_whole_records(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        for number in range(40):
            if number == 10:
                ledger._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            attempt = ledger.lease([name(number)], "me", 60)[name(number)]
            assert ledger.commit(make_record(name(number)), attempt)
        shutil.copytree(tmp_path, tmp_path / "dead")
    log = (tmp_path / "dead" / "ledger.sqlite-wal").read_bytes()
    counts = set()
    for turn in range(40):
        copy = tmp_path / f"copy{turn}"
        copy.mkdir()
        shutil.copy(tmp_path / "dead" / "ledger.sqlite", copy)
        place = random.randrange(len(log))
        harmed = log[:place] if harm == "cut" else log[:place] + random.randbytes(50) + log[place + 50 :]
        (copy / "ledger.sqlite-wal").write_bytes(harmed)
        with Ledger(copy / "ledger.sqlite") as ledger:
            assert ledger._database.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            counts.add(assert_prefix(ledger, at_least=10))
            attempt = ledger.lease([name(99)], "me", 60)[name(99)]
            assert ledger.commit(make_record(name(99)), attempt)
    assert len(counts) > 3  # the harm did reach different records


def test_only_the_current_attempt_counts_and_the_first_result_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.lease(["a"], "slow", -1) == {"a": 1}  # expired at once
        assert ledger.lease(["a"], "quick", 60) == {"a": 2}
        assert not ledger.commit(make_record("a", accuracy=0.1), 1)
        assert ledger.done() == {}
        assert not ledger.commit(make_record("b"), 1)  # never leased
        late = make_record("a", accuracy=0.3)
        assert ledger.commit_many([(make_record("a", accuracy=0.2), 2), (late, 2), (late, 1)]) == [True, False, False]
        assert ledger.record("a").outcome.scores["accuracy"] == 0.2
        assert ledger.lease(["a"], "quick", 60) == {}


def test_living_owners_keep_their_cells_until_the_lease_ends_or_is_given_up(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as mine, Ledger(tmp_path / "l") as other:
        assert mine.lease(["a", "b", "c"], "me", 60) == {"a": 1, "b": 1, "c": 1}
        assert other.lease(["a", "b", "c"], "you", 60) == {}
        mine.release(["b"], "you")  # not yours to release
        mine.release(["c"], "me")
        assert other.lease(["a", "b", "c"], "you", 60) == {"c": 2}
        assert not mine.commit(make_record("c"), 1)
        mine.renew("me", -1)
        assert other.lease(["a"], "you", 60) == {"a": 2}
        mine.renew("me", 60)  # too late for a, in time for b
        assert other.lease(["b"], "you", 60) == {}
        assert mine.lease(["b"], "me", 60) == {"b": 2}  # an owner gives its own attempt up
        assert not mine.commit(make_record("b"), 1)
        assert mine.commit(make_record("b"), 2)


def lease_and_wait(path: Path, told: int) -> None:
    with Ledger(path) as ledger:
        ledger.lease(["a"], "killed", 3600)
        os.write(told, b"x")
        time.sleep(60)


def test_the_cells_of_a_killed_driver_are_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "l"
    Ledger(path).close()
    reading, writing = os.pipe()
    driver = FORK.Process(target=lease_and_wait, args=(path, writing), daemon=True)
    driver.start()
    os.read(reading, 1)
    with Ledger(path) as ledger:
        assert ledger.lease(["a"], "heir", 60) == {}
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGKILL)
        driver.join()
        assert ledger.lease(["a"], "heir", 60) == {"a": 2}
    assert not list(path.with_name("l-owners").iterdir())


def lease_all(path: Path, number: int, all_there: Any, results: multiprocessing.Queue[list[str]]) -> None:
    mine: set[str] = set()
    with Ledger(path) as ledger:
        all_there.wait(60)
        for start in random.sample(range(300), 300):
            ids = [name((start + step) % 300) for step in range(4)]
            attempts = ledger.lease(ids, f"driver {number}", 60)
            mine |= attempts.keys()
            ledger.commit_many([(make_record(cell), attempt) for cell, attempt in list(attempts.items())[:1]])
        results.put(sorted(mine))
        time.sleep(1)  # alive until all are through


def test_drivers_that_lease_at_the_same_moment_never_share_a_cell(tmp_path: Path) -> None:
    results, all_there = FORK.Queue(), FORK.Barrier(3)
    drivers = [FORK.Process(target=lease_all, args=(tmp_path / "l", number, all_there, results)) for number in range(3)]
    for driver in drivers:  # they also make the file, all at once
        driver.start()
    leased = [results.get(timeout=60) for _ in drivers]
    for driver in drivers:
        driver.join()
        assert driver.exitcode == 0
    assert sorted(cell for part in leased for cell in part) == [name(number) for number in range(300)]
    assert sum(1 for part in leased if part) > 1


def test_retracted_results_stay_readable_and_make_room_for_new_ones(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        attempts = ledger.lease(["a", "b", "c"], "me", 60)
        ledger.commit_many([(make_record(cell, failed=cell == "a"), attempts[cell]) for cell in "abc"])
        assert ledger.done(iter("abd")) == {"a": "failed", "b": "done"}
        assert ledger.forget_failed("ab") == 1
        assert ledger.done() == {"b": "done", "c": "done"}
        assert ledger.forget(["b"]) == 1
        assert ledger.forget(["b"]) == 0
        assert ledger.lease("abc", "me", 60) == {"a": 2, "b": 2}
        assert not ledger.commit(make_record("b"), 1)
        assert ledger.commit(make_record("b", accuracy=0.5), 2)
        first, second = ledger.attempts("b")
        assert first.record == make_record("b")
        assert first.retracted_at is not None
        assert (second.number, second.record, second.retracted_at) == (2, make_record("b", accuracy=0.5), None)
        assert [record.id for record in ledger.records()] == ["c", "b"]
        assert list(ledger.records(["b", "x"])) == [make_record("b", accuracy=0.5)]


def test_facts_are_read_without_the_records(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        attempts = ledger.lease("abc", "me", 60)
        for cell in "abc":
            ledger.commit(make_record(cell, failed=cell == "b", seconds=ord(cell)), attempts[cell])
        ledger.forget(["c"])
        assert ledger.durations() == [Timing("linear_probe", "conv4/random", "digits", "classification", 5, 97.0)]
        assert ledger.result_infos("abc") == {
            "a": ResultInfo("done", "m" * 16, "p" * 16),
            "b": ResultInfo("failed", "m" * 16, "p" * 16),
        }
        assert ledger.result_infos() == ledger.result_infos("abc")


def test_a_record_is_found_by_the_start_of_its_id(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ids = ["abc1", "abd2", "b"]
        attempts = ledger.lease(ids, "me", 60)
        ledger.commit_many([(make_record(cell), attempts[cell]) for cell in ids])
        assert ledger.record("abc").id == "abc1"
        with pytest.raises(UserError, match=r"several cells .* abc1, abd2"):
            ledger.record("ab")
        with pytest.raises(UserError, match="no result of a cell 'x'"):
            ledger.record("x")


def test_a_hundred_thousand_cells_are_looked_up_within_a_second(tmp_path: Path) -> None:
    ids = [name(number) for number in range(100_000)]
    with Ledger(tmp_path / "l") as ledger:
        with ledger._database.write() as connection:  # committing them one by one is not what is timed
            connection.executemany(
                "INSERT INTO records VALUES (?, ?, 1, 'done', 0, 'm', 'b', 'd', 'p', 5, 2.0, '', '')", enumerate(ids)
            )
            connection.executemany("INSERT INTO standing VALUES (?, ?, 'done')", zip(ids, range(100_000), strict=True))
        began = time.process_time()
        assert len(ledger.done(ids)) == 100_000
        asked = time.process_time() - began
        began = time.process_time()
        assert len(ledger.durations()) == 100_000
        timed = time.process_time() - began
        records = [make_record(f"new{number}") for number in range(200)]
        attempts = ledger.lease([record.id for record in records], "me", 60)
        began = time.process_time()
        for start in range(0, 200, 20):
            ledger.commit_many([(record, attempts[record.id]) for record in records[start : start + 20]])
        committed = (time.process_time() - began) / 200
    assert asked < 1.0
    assert timed < 1.0
    assert committed < 0.0006  # 0.1 ms measured on an idle machine


def overwritten(path: Path, start: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(random.randbytes(path.stat().st_size - start))


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("no database at all, but long enough to be taken for one " * 100)
    with pytest.raises(UserError, match=r"ledger\.sqlite: file is not a database\n  move the file away"):
        Ledger(path)
    path.unlink()
    with Ledger(path) as ledger:
        attempts = ledger.lease([name(number) for number in range(50)], "me", 60)
        ledger.commit_many([(make_record(cell), attempt) for cell, attempt in attempts.items()])
    overwritten(path, 4096)
    with pytest.raises(UserError, match=r"ledger\.sqlite: .*\n  move the file away"), Ledger(path) as ledger:
        list(ledger.records())


def test_another_version_or_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l"
    Ledger(path).close()
    for version, said in ((99, r"a newer tlbench \(format 99.*\n  update tlbench"), (-1, "an older tlbench")):
        link = sqlite3.connect(path)
        link.execute(f"PRAGMA user_version = {version}")
        link.close()
        with pytest.raises(UserError, match=said):
            Ledger(path)
    link = sqlite3.connect(tmp_path / "other.db")
    link.execute("CREATE TABLE t (x)")
    link.close()
    with pytest.raises(UserError, match="not one of tlbench"):
        Ledger(tmp_path / "other.db")
    with pytest.raises(UserError, match="its folder must exist"):
        Ledger(tmp_path / "nowhere" / "l")


def test_a_full_disk_is_said_and_what_was_committed_stays(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with Ledger(path) as ledger:
        attempts = ledger.lease([name(number) for number in range(200)], "me", 60)
        connection = ledger._database.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 8}")

        def commit_all() -> None:
            for cell, attempt in attempts.items():
                ledger.commit(make_record(cell), attempt)

        with pytest.raises(UserError, match=r"l: database or disk is full\n  make room"):
            commit_all()
        kept = assert_prefix(ledger, at_least=1)
        connection.execute("PRAGMA max_page_count = 100000")
        assert ledger.commit(make_record(name(kept)), attempts[name(kept)])
    with Ledger(path) as ledger:
        assert_prefix(ledger, at_least=kept + 1)
