"""Brings an experiment up to date with the ledger: each result one run, however often this is tried or cut short."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from tlbench.core.record import Record
from tlbench.store.ledger import Ledger

BATCH = 20
ABANDONED_S = 3600.0
_ENDED = {"done": "FINISHED", "failed": "FAILED"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run as a tracking store has it.

    Attributes:
        id: The store's name for it.
        status: ``RUNNING``, ``FINISHED``, ``FAILED``, ...
        cell: Id of the cell.
        digest: Of the record.
        sync: Who wrote it and when (:func:`sync_mark`).
    """

    id: str
    status: str
    cell: str
    digest: str
    sync: str


class RefusedError(Exception):
    """The store will never take this record."""


class Experiment(Protocol):
    """Where runs are written."""

    def find(self, cells: Collection[str]) -> list[Run]:
        """Return all runs of these cells, whatever their status."""

    def running(self) -> list[Run]:
        """Return the runs that nobody has ended."""

    def write(self, record: Record) -> None:
        """Write a run, ended last. Raises RefusedError, or whatever the connection raises."""

    def delete(self, run_id: str) -> None:
        """Delete a run; nothing happens when it is gone."""


@dataclass(frozen=True)
class Verdict:
    """What is to become of a cell's runs.

    Attributes:
        keep: The run that stands for the record, or None when it is still to be written.
        delete: Runs that must go, once there is one to keep.
        conflict: Another result for the same cell, which nobody took back; nothing is written or deleted then.
    """

    keep: Run | None
    delete: tuple[Run, ...] = ()
    conflict: Run | None = None


def judge(record: Record, found: Iterable[Run], taken_back: Collection[str]) -> Verdict:
    """Compare a record with the ended runs of its cell.

    Args:
        record: The result that stands.
        found: Runs of the cell.
        taken_back: Digests of the cell's earlier results that the ledger retracted.
    """
    ended = sorted((run for run in found if run.status in _ENDED.values()), key=lambda run: run.id)
    equal = [run for run in ended if run.digest == record.digest and run.status == _ENDED[record.status]]
    rivals = [run for run in ended if run not in equal and run.status == "FINISHED" and run.digest not in taken_back]
    if rivals and record.status == "failed":  # somebody else's success outweighs our failure
        return Verdict(rivals[0], tuple(equal))
    if rivals:
        return Verdict(None, conflict=rivals[0])
    keep = equal[0] if equal else None
    return Verdict(keep, tuple(run for run in ended if run is not keep))


def sync_mark(writer: str) -> str:
    """Return the mark of a run that this writer begins now."""
    return f"{writer} {time.time():.0f}"


def abandoned(run: Run, writer: str) -> bool:
    """Say whether nobody will end a run: this writer's own from before (it works alone), or anybody's of long ago."""
    who, _, moment = run.sync.rpartition(" ")
    old = moment.isdecimal() and time.time() - int(moment) > ABANDONED_S
    return run.status == "RUNNING" and (who == writer or old)


@dataclass
class Replay:
    """The work on one suite and one tracking store. Only one process at a time may do it (see the writer's lock).

    Args:
        ledger: The truth.
        experiment: Where it goes.
        suite: Name of the suite.
        tracking: Address of the store, without credentials.
        writer: Name that the runs written from this ledger on this machine carry.
        on_settled: Called with the number of cells settled after each batch.
        troubles: What is wrong with cells that were left alone, by cell.
    """

    ledger: Ledger
    experiment: Experiment
    suite: str
    tracking: str
    writer: str
    on_settled: Callable[[int], None] = lambda count: None
    troubles: dict[str, str] = field(default_factory=dict)

    def sweep(self) -> None:
        """Delete runs that a writer began and never ended."""
        for run in self.experiment.running():
            if abandoned(run, self.writer):
                self.experiment.delete(run.id)

    def withdraw(self) -> None:
        """Delete the runs that this writer wrote for cells that the suite no longer lists; the ledger keeps them."""
        pending = iter(self.ledger.disowned(self.suite, self.tracking))
        while batch := list(islice(pending, BATCH)):
            for run in self.experiment.find(batch):
                if run.sync.rpartition(" ")[0] == self.writer:
                    self.experiment.delete(run.id)
            self.ledger.mark_withdrawn(self.suite, self.tracking, batch)

    def run(self) -> int:
        """Settle what is unsynced now, in batches; return the number of cells settled."""
        pending = iter(self.pending().items())
        settled = 0
        while batch := dict(islice(pending, BATCH)):
            settled += self._settle(batch)
            self.on_settled(settled)
        return settled

    def pending(self) -> dict[str, int]:
        """Return the unsynced cells, less those in trouble."""
        unsynced = self.ledger.unsynced(self.suite, self.tracking)
        return {cell: number for cell, number in unsynced.items() if cell not in self.troubles}

    def _settle(self, batch: Mapping[str, int]) -> int:
        records = list(self.ledger.numbered(batch.values()))
        before = self._found(batch)
        taken_back = {record.id: self._taken_back(record.id, before[record.id]) for record in records}
        for record in records:
            verdict = judge(record, before[record.id], taken_back[record.id])
            if verdict.conflict is not None:
                self._conflict(record, verdict.conflict)
            elif verdict.keep is None:
                try:
                    self.experiment.write(record)
                except RefusedError as error:
                    self.troubles[record.id] = f"cell {record.id}: MLflow refuses the record: {error}"
        # Only now is it known whether another writer, or a request whose answer was lost, wrote the same.
        after = self._found(batch)
        settled = {}
        for record in records:
            verdict = judge(record, after[record.id], taken_back[record.id])
            if record.id in self.troubles or verdict.keep is None:
                if verdict.conflict is not None and record.id not in self.troubles:
                    self._conflict(record, verdict.conflict)
                continue
            for run in verdict.delete:
                self.experiment.delete(run.id)
            settled[record.id] = batch[record.id]
        self.ledger.mark_synced(self.suite, self.tracking, settled)
        return len(settled)

    def _found(self, cells: Collection[str]) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = {cell: [] for cell in cells}
        for run in self.experiment.find(cells):
            if abandoned(run, self.writer):
                self.experiment.delete(run.id)
            else:
                found[run.cell].append(run)
        return found

    def _taken_back(self, cell: str, found: list[Run]) -> set[str]:
        if not found:
            return set()
        attempts = self.ledger.attempts(cell)
        return {attempt.record.digest for attempt in attempts if attempt.record and attempt.retracted}

    def _conflict(self, record: Record, run: Run) -> None:
        self.troubles[record.id] = (
            f"cell {record.id}: MLflow has another result (run {run.id}, digest {run.digest[:8]}; the ledger's is "
            f"{record.digest[:8]}): delete the run in MLflow if the ledger is right, then `tlbench sync`"
        )
