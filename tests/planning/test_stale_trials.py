"""Trials whose code has changed since: counted, and their searches begun anew where that is asked for. No Ray."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from searched_suites import ended, prepared

from tlbench.cli.status_text import status_json, status_lines
from tlbench.planning.prepare import PreparedSuite
from tlbench.planning.run_request import RunRequest
from tlbench.planning.stale_searches import restart, restart_stale_searches, stale_trials
from tlbench.planning.status import suite_status
from tlbench.plugins.staleness import Marks
from tlbench.store.ledger import Ledger

OLDER = Marks("m2:0000000000000000", "m2:0000000000000000").as_provenance


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as found:
        yield found


@pytest.fixture
def suite(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedSuite:
    return prepared(tmp_path, tmp_path_factory.mktemp("artifacts"), {"shots": [5, 10], "seeds": 1}, trials=3)


def commit(ledger: Ledger, record: object) -> None:
    lease = ledger.lease([record.id], "me", 60)  # type: ignore[attr-defined]
    assert ledger.commit(record, lease[record.id])  # type: ignore[arg-type, attr-defined]


def tried(suite: PreparedSuite, ledger: Ledger, older: tuple[int, ...] = (), shots: int = 5, trials: int = 3) -> None:
    """Commit the trials of the search with some shots, of which some have older code; the second one is the best."""
    (setting,) = (each for each in suite.searches.problems.values() if each.shots == shots)
    for number in range(1, trials + 1):
        record = ended(setting, number, {"lr": number / 100}, 0.9 if number == 2 else 0.5)
        marks = OLDER if number in older else suite.plan.code.marks(setting.trial(number, {})).as_provenance
        commit(ledger, record.model_copy(update={"provenance": marks}))


def test_trials_of_todays_code_are_not_stale(suite: PreparedSuite, ledger: Ledger) -> None:
    for shots in (5, 10):
        tried(suite, ledger, shots=shots)
    settled = suite.with_winners(ledger)
    assert not settled.searches.waiting
    assert stale_trials(settled, ledger) == {}
    status = suite_status(settled, ledger)
    assert status_json(status)["trials"] == {"done": 0, "at_most": 0, "trainings": 0, "stale": 0}
    assert "stale trials" not in "\n".join(status_lines(status))


def test_stale_trials_count_and_make_the_cells_stale_that_use_them(suite: PreparedSuite, ledger: Ledger) -> None:
    tried(suite, ledger, older=(1, 3))
    tried(suite, ledger, shots=10)
    settled = suite.with_winners(ledger)
    assert not settled.searches.waiting, "a stale search is over none the less"
    for cell in settled.plan.cells:
        facts = {"cell": cell.describe(), "provenance": settled.plan.code.marks(cell).as_provenance}
        (setting, *_) = suite.searches.problems.values()
        commit(ledger, ended(setting, 1, {}, 0.5).model_copy(update=facts))
    tuned = [cell for cell in settled.plan.cells if cell.winner is not None and cell.shots == 5]
    status = suite_status(settled, ledger)
    assert tuned
    assert status.cells.stale == tuned
    assert len(status.cells.done) == len(settled.plan.cells) - len(tuned)
    assert status_json(status)["trials"]["stale"] == 2
    assert 'stale trials: 2; their searches begin anew with --only "stale"' in "\n".join(status_lines(status))


def test_a_failed_trial_is_not_stale(suite: PreparedSuite, ledger: Ledger) -> None:
    (setting, *_) = suite.searches.problems.values()
    tried(suite, ledger, shots=int(setting.shots), trials=2)
    commit(ledger, ended(setting, 3, {"lr": 0.1}, None).model_copy(update={"provenance": OLDER}))
    assert stale_trials(suite.with_winners(ledger), ledger) == {}


def test_the_cells_of_a_search_that_begins_anew_wait(suite: PreparedSuite, ledger: Ledger) -> None:
    for shots in (5, 10):
        tried(suite, ledger, older=(2,), shots=shots)
    settled = suite.with_winners(ledger)
    (key,) = (each.key for each in suite.searches.problems.values() if each.shots == 5)
    assert stale_trials(settled, ledger).keys() == {each.key for each in suite.searches.problems.values()}
    begun = restart(settled, {key})
    waiting = [cell for cell in begun.plan.cells if cell.id in begun.searches.waiting]
    assert {cell.shots for cell in waiting} == {5}
    assert waiting == [cell for cell in suite.plan.cells if cell.id in suite.searches.waiting and cell.shots == 5]
    assert [cell.seed for cell in begun.plan.cells] == [cell.seed for cell in suite.plan.cells]


@pytest.mark.parametrize(
    ("request_", "shots"),
    [
        (RunRequest(), set()),
        (RunRequest(only="shots=5"), set()),
        (RunRequest(only="failed"), set()),
        (RunRequest(only="stale"), {5}),
        (RunRequest(only="stale method=finetune"), {5}),
        (RunRequest(only="stale shots=10"), set()),
        (RunRequest(only="stale method=linear_probe"), set()),
        (RunRequest(only="stale", skip="shots=5"), set()),
    ],
)
@pytest.mark.parametrize("over", [True, False])
def test_which_searches_begin_anew(
    suite: PreparedSuite, ledger: Ledger, request_: RunRequest, shots: set[int], over: bool
) -> None:
    """That of five shots has a stale trial, whether it is over or not."""
    tried(suite, ledger, older=(2,), trials=3 if over else 2)
    tried(suite, ledger, shots=10)
    for prepared_ in (suite, suite.with_winners(ledger)):
        begun, cells = restart_stale_searches(prepared_, ledger, request_)
        assert {cell.shots for cell in cells} == shots
        assert {cell.id for cell in cells} <= begun.searches.waiting
        assert len(cells) == len(shots)


def test_a_stale_search_that_is_not_asked_for_stays_over(suite: PreparedSuite, ledger: Ledger) -> None:
    for shots in (5, 10):
        tried(suite, ledger, older=(2,), shots=shots)
    begun, cells = restart_stale_searches(suite, ledger, RunRequest(only="stale shots=10"))
    assert {cell.shots for cell in cells} == {10}
    assert begun.searches.waiting == {cell.id for cell in cells}


def test_trials_without_marks_are_not_stale(suite: PreparedSuite, ledger: Ledger, tmp_path: Path) -> None:
    tried(suite, ledger, older=(1, 2, 3))
    link = sqlite3.connect(tmp_path / "ledger.sqlite")
    with link:
        link.execute("UPDATE records SET method_source = '', protocol_source = ''")
    link.close()
    assert stale_trials(suite.with_winners(ledger), ledger) == {}
