"""What was deleted, renamed or lost in MLflow is noticed by one question and mended, in a file and on a server."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from plausible import make_record
from tracking_server import Server

from tlbench.core.description import Trial
from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.report import results as data
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow import schema
from tlbench.store.mlflow.background_writer import BackgroundWriter, Backlog
from tlbench.store.mlflow.experiment import Experiment
from tlbench.store.mlflow.presence import Loss
from tlbench.store.mlflow.tracking_uri import prepare_tracking

Q = "name: q\n"


class Place:
    """A suite of four results in a ledger of its own, and the store that they were written to.

    Args:
        uri: The store.
        workspace: A new folder.
        suite: Name; its text is in the experiment's tags.
    """

    def __init__(self, uri: str, workspace: Path, suite: str) -> None:
        self.uri, self.workspace, self.suite = prepare_tracking(uri, workspace), workspace, suite
        self.records = [make_record(f"{suite}{number}") for number in range(4)]
        workspace.mkdir()
        self.commit(self.records)
        assert self.write() == Backlog(0, "")

    def commit(self, records: list[Any], listed: list[Any] | None = None) -> None:
        ids = [record.id for record in records]
        tags = schema.experiment_tags("linear_probe", f"name: {self.suite}\n", 4, [], [])
        with Ledger(self.workspace / "ledger") as ledger:
            ledger.claim(self.suite, [record.id for record in listed or records], tags)
            ledger.forget(ids)
            attempts = ledger.lease(ids, "me", 60)
            assert all(ledger.commit_many([(record, attempts[record.id]) for record in records]))

    def write(self) -> Backlog:
        writer = BackgroundWriter(self.workspace / "ledger", self.uri, self.workspace, self.suite)
        writer.start()
        return writer.close(30)

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    @property
    def experiment(self) -> Any:
        return self.client.get_experiment_by_name(self.suite)

    def runs(self) -> dict[str, Any]:
        found = list(self.client.search_runs([self.experiment.experiment_id], max_results=1000))
        found = [run for run in found if schema.CELL_TAG in run.data.tags]
        by_cell = {run.data.tags[schema.CELL_TAG]: run for run in found}
        assert len(by_cell) == len(found), "a cell has two runs"
        return by_cell

    def assert_whole(self) -> None:
        assert {cell: run.data.tags[schema.DIGEST_TAG] for cell, run in self.runs().items()} == {
            record.id: record.digest for record in self.records
        }
        results = data.load(self.suite, self.uri)
        assert (len(results.done), results.suite_text) == (4, f"name: {self.suite}\n")
        assert self.write() == Backlog(0, ""), "nothing is lost now"


def with_cell(record: Record, **facts: Any) -> Record:
    return record.model_copy(update={"cell": record.cell.model_copy(update=facts)})


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Place:
    if request.param == "server":
        uri = request.getfixturevalue("server").uri
    else:
        uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"
    return Place(uri, tmp_path / "workspace", f"{request.node.name.partition('[')[0][-40:]}")


def test_deleted_runs_are_sent_again(place: Place) -> None:
    runs = place.runs()
    for record in place.records[:2]:
        place.client.delete_run(runs[record.id].info.run_id)
    mended = f"2 results of {place.suite!r} had been deleted or lost in MLflow, and have been sent again"
    assert place.write() == Backlog(0, "", mended)
    kept = place.runs()
    assert all(kept[each.id].info.run_id == runs[each.id].info.run_id for each in place.records[2:]), "sent twice"
    place.assert_whole()


def test_a_deleted_experiment_is_restored_without_what_was_deleted_from_it_before(place: Place) -> None:
    unlisted, old = make_record(f"{place.suite}x"), place.records[0]
    place.commit([unlisted], [*place.records, unlisted])
    assert place.write() == Backlog(0, "")
    place.records[0] = make_record(old.id, accuracy=0.9)  # forced, with another result
    place.commit([place.records[0]], place.records)  # the other cell is none of the suite any more
    assert place.write() == Backlog(0, "")
    place.assert_whole()
    place.client.delete_experiment(place.experiment.experiment_id)
    with pytest.raises(UserError, match=r"was deleted in .*\n  `tlbench sync SUITE`, or the next run of the suite"):
        data.load(place.suite, place.uri)
    mended = f"the experiment {place.suite!r} had been deleted in MLflow, and has been restored"
    assert place.write() == Backlog(0, "", mended)
    place.assert_whole()


def test_a_renamed_experiment_is_named_with_the_command_and_nothing_is_sent_twice(place: Place) -> None:
    number, own = place.experiment.experiment_id, place.suite
    place.client.rename_experiment(number, f"{own} of old")
    for _ in range(2):  # the same answer as often as one asks
        backlog = place.write()
        assert (backlog.count, backlog.mended) == (4, "")
        assert f"the experiment {own!r} has been renamed there, to '{own} of old'\n" in backlog.error
        command = f"mlflow experiments rename --experiment-id {number} --new-name {own}` gives it its name back"
        assert command in backlog.error
        assert f"or write `name: {own} of old` in the suite" in backlog.error
        assert place.experiment is None
    place.client.rename_experiment(number, own)
    assert place.write() == Backlog(0, "")
    place.assert_whole()


def test_an_experiment_without_a_trace_is_made_anew(place: Place) -> None:
    place.client.rename_experiment(place.experiment.experiment_id, f"{place.suite} gone")
    gone = place.client.get_experiment_by_name(f"{place.suite} gone")
    place.client.set_experiment_tag(gone.experiment_id, schema.SUITE_TAG, "name: another\n")
    mended = f"the experiment {place.suite!r} was gone from MLflow, and has been made anew with 4 results"
    assert place.write() == Backlog(0, "", mended)
    place.assert_whole()


def test_a_changed_tag_is_set_again(place: Place) -> None:
    place.client.set_experiment_tag(place.experiment.experiment_id, schema.SUITE_TAG, "name: changed\n")
    assert place.write() == Backlog(0, "")
    place.assert_whole()


@pytest.mark.parametrize("later", ["seconds", "at once"])
@pytest.mark.parametrize("moment", ["before the last results", "before a forced one"])
def test_a_file_restored_from_an_older_copy_gets_what_it_lacks(
    tmp_path: Path, empty_database: Path, moment: str, later: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))
    place = Place(f"sqlite:///{file}", tmp_path / "workspace", "demo")
    with closing(sqlite3.connect(file)) as link, closing(sqlite3.connect(tmp_path / "backup.db")) as copy:
        link.backup(copy)
    cell = place.records[0].id if moment == "before a forced one" else "more"
    record = make_record(cell, accuracy=0.9)
    if later == "seconds":
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 10)
    place.commit([record], [*place.records, record])
    for _ in range(2):
        assert place.write() == Backlog(0, "")
    with closing(sqlite3.connect(tmp_path / "backup.db")) as copy, closing(sqlite3.connect(file)) as link:
        copy.backup(link)
    told = place.write().mended
    assert told == "1 result of 'demo' had been deleted or lost in MLflow, and has been sent again"
    assert place.runs()[cell].data.tags[schema.DIGEST_TAG] == record.digest


@pytest.mark.slow
def test_a_server_restored_from_an_older_copy_gets_what_it_lacks(tmp_path: Path, empty_database: Path) -> None:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server", empty_database)
    server.start()
    try:
        place = Place(server.uri, tmp_path / "workspace", "demo")
        server.kill()
        shutil.copy(tmp_path / "server" / "server.db", tmp_path / "backup.db")
        server.start()
        late = make_record("late")
        place.records.append(late)
        place.commit([late], place.records)
        assert place.write() == Backlog(0, "")
        server.kill()
        for file in (tmp_path / "server").glob("server.db*"):
            file.unlink()
        shutil.copy(tmp_path / "backup.db", tmp_path / "server" / "server.db")
        server.start()
        assert late.id not in place.runs()
        assert "1 result of 'demo' had been deleted or lost" in place.write().mended
        assert place.runs().keys() == {record.id for record in place.records}
        assert place.write() == Backlog(0, "")
    finally:
        server.kill()


def test_trials_sent_again_keep_the_mark_of_the_one_that_was_chosen(tmp_path: Path, empty_database: Path) -> None:
    uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}"
    place = Place(uri, tmp_path / "workspace", "demo")
    trials = [Trial(setting="s", number=number, values={"lr": number}) for number in (1, 2)]
    searched = [with_cell(make_record(f"t{each.number}"), trial=each) for each in trials]
    final = with_cell(make_record("final"), winner=trials[1])
    place.records += [*searched, final]
    place.commit([*searched, final], place.records)
    assert place.write() == Backlog(0, "")
    for number in ("t1", "t2"):
        place.client.delete_run(place.runs()[number].info.run_id)
    assert "2 results" in place.write().mended
    chosen = [cell for cell, run in place.runs().items() if schema.WINNER_TAG in run.data.tags]
    assert chosen == ["t2"]


def test_a_whole_suite_costs_one_question_and_no_import_of_mlflow(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'mlflow.db')}", tmp_path / "workspace", "demo")
    opened: list[Any] = []

    def refuse(*args: Any, **more: Any) -> Callable[..., None]:
        opened.append(args)
        raise AssertionError

    monkeypatch.setattr(Experiment, "__init__", refuse)
    asked: list[str] = []
    connect = sqlite3.connect

    def watched(*args: Any, **more: Any) -> sqlite3.Connection:
        link = connect(*args, **more)
        if "mlflow.db" in str(args[0]):
            link.set_trace_callback(asked.append)
        return link

    monkeypatch.setattr(sqlite3, "connect", watched)
    assert place.write() == Backlog(0, "")
    assert opened == []
    assert len([each for each in asked if "FROM runs" in each]) == 1
    assert len(asked) < 8


def test_nothing_lost_is_nothing_to_say() -> None:
    assert Loss().describe("demo") == Loss(tags=True).describe("demo") == ""
