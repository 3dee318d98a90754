"""Brings an experiment up to date with the ledger: each result one run, however often this is tried or cut short."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Protocol

from tlbench.core.description import Trial
from tlbench.core.record import Record
from tlbench.store.ledger import Ledger
from tlbench.store.tracking_state import TrackingState

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
        written_by: Who wrote it and when (:func:`writer_tag`).
    """

    id: str
    status: str
    cell: str
    digest: str
    written_by: str

    @property
    def writer(self) -> str:
        """Name of the writer."""
        return self.written_by.rpartition(" ")[0]

    @property
    def written_at(self) -> float:
        """When its writing began, in seconds since the epoch; infinite where that is not known."""
        moment = self.written_by.rpartition(" ")[2]
        return int(moment) if moment.isdecimal() else inf

    def is_abandoned(self, writer: str) -> bool:
        """Say whether nobody will end this run.

        Args:
            writer: Name of the writer that asks. It works alone, so that a running run of its own is an earlier
                process's; a run of another writer is given up after an hour.
        """
        old = time.time() - self.written_at > ABANDONED_S
        return self.status == "RUNNING" and (self.writer == writer or old)


def writer_tag(writer: str) -> str:
    """Return the tag of a run that this writer begins now: its name and the time in seconds since the epoch."""
    return f"{writer} {time.time():.0f}"


class RefusedError(Exception):
    """The store will never take this record."""


class Experiment(Protocol):
    """Where runs are written."""

    def find(self, cells: Collection[str]) -> list[Run]:
        """Return all runs of these cells, whatever their status."""

    def running(self) -> list[Run]:
        """Return the runs that nobody has ended."""

    def everything(self) -> list[Run]:
        """Return all runs of cells."""

    def tag_winner(self, winner: Trial) -> None:
        """Mark the trial that cells took their values from."""

    def write(self, record: Record) -> None:
        """Write a run, ended last. Raises RefusedError, or whatever the connection raises."""

    def delete(self, run_id: str) -> None:
        """Delete a run; nothing happens when it is gone."""


@dataclass(frozen=True)
class Decision:
    """What is to be done with the runs of a cell.

    Attributes:
        keep: The run that stands for the record, or None when it is still to be written.
        delete: Runs to delete, once there is one to keep.
        conflict: Another result of the same cell, which nobody retracted; nothing is written or deleted then.
    """

    keep: Run | None
    delete: tuple[Run, ...] = ()
    conflict: Run | None = None


def decide(record: Record, runs: Iterable[Run], retracted: Mapping[str, float]) -> Decision:
    """Compare a record with the ended runs of its cell.

    A run of an equal result that the ledger retracted since, as it does when stale cells are run again, tells of the
    code and the cost of then: it makes way for a run of the new record.

    Args:
        record: The result of the cell.
        runs: Runs of the cell.
        retracted: When the ledger retracted earlier results of the cell, in seconds since the epoch, by their digest.
    """
    ended = sorted((run for run in runs if run.status in _ENDED.values()), key=lambda run: run.id)
    since = float(int(retracted[record.digest])) if record.digest in retracted else -inf
    same = [run for run in ended if run.digest == record.digest and run.status == _ENDED[record.status]]
    equal = [run for run in same if run.written_at >= since]
    others = [run for run in ended if run not in same and run.status == "FINISHED" and run.digest not in retracted]
    if others and record.status == "failed":  # somebody else's success outweighs our failure
        return Decision(others[0], tuple(equal))
    if others:
        return Decision(None, conflict=others[0])
    keep = equal[0] if equal else None
    return Decision(keep, tuple(run for run in ended if run is not keep))


@dataclass
class Reconciler:
    """Brings one suite's experiment in one store up to date. One process at a time may do it (see ``sync``'s lock).

    Args:
        ledger: Holds the results.
        experiment: Where they are written.
        state: What the experiment has, as the ledger remembers it.
        writer: Name that the runs written from this ledger on this machine carry.
        on_settled: Called after each batch with the number of cells settled so far.
        problems: What is wrong with the cells that are left alone, by cell; cells in it are not tried again.
    """

    ledger: Ledger
    experiment: Experiment
    state: TrackingState
    writer: str
    on_settled: Callable[[int], None] = lambda count: None
    problems: dict[str, str] = field(default_factory=dict)

    def delete_abandoned(self) -> None:
        """Delete runs that a writer began and never ended."""
        for run in self.experiment.running():
            if run.is_abandoned(self.writer):
                self.experiment.delete(run.id)

    def delete_strays(self) -> None:
        """Delete the runs of this writer for cells that the suite does not list, whatever the ledger remembers."""
        listed = self.state.listed()
        for run in self.experiment.everything():
            if run.writer == self.writer and run.cell not in listed:
                self.experiment.delete(run.id)

    def tag_winners(self) -> None:
        """Mark the trials again that cells took their values from, as after trials were written a second time."""
        for record in self.ledger.records(self.state.listed()):
            if record.cell.winner is not None:
                self.experiment.tag_winner(record.cell.winner)

    def delete_unlisted(self) -> None:
        """Delete the runs that this writer wrote for cells that the suite no longer lists; the ledger keeps them."""
        unlisted = iter(self.state.unlisted())
        while batch := list(islice(unlisted, BATCH)):
            for run in self.experiment.find(batch):
                if run.writer == self.writer:
                    self.experiment.delete(run.id)
            self.state.mark_deleted(batch)

    def write_pending(self) -> int:
        """Settle what the store lacks now, in batches; return the number of cells settled.

        A cell is settled when exactly one run stands for its result and the ledger remembers that.
        """
        pending = iter(self.pending().items())
        settled = 0
        while batch := dict(islice(pending, BATCH)):
            settled += self._settle(batch)
            self.on_settled(settled)
        return settled

    def pending(self) -> dict[str, int]:
        """Return the cells whose result the store lacks, less those with problems; numbers of records by cell."""
        return {cell: number for cell, number in self.state.missing().items() if cell not in self.problems}

    def _settle(self, batch: Mapping[str, int]) -> int:
        """Write the records of a batch that have no run; return the number of cells settled."""
        records = list(self.ledger.numbered(batch.values()))
        runs = self._runs(batch)
        retracted = {record.id: self.ledger.retractions(record.id) if runs[record.id] else {} for record in records}
        for record in records:
            self._write(record, decide(record, runs[record.id], retracted[record.id]))
        # Only now is it known whether another writer, or a request whose answer was lost, wrote the same.
        runs = self._runs(batch)
        settled = {}
        for record in records:
            decision = decide(record, runs[record.id], retracted[record.id])
            if decision.conflict is not None:
                self._note_conflict(record, decision.conflict)
            if record.id in self.problems or decision.keep is None:
                continue
            for run in decision.delete:
                self.experiment.delete(run.id)
            settled[record.id] = batch[record.id]
        self.state.mark_written(settled)
        return len(settled)

    def _write(self, record: Record, decision: Decision) -> None:
        if decision.conflict is not None:
            self._note_conflict(record, decision.conflict)
        elif decision.keep is None:
            try:
                self.experiment.write(record)
            except RefusedError as error:
                self.problems[record.id] = f"cell {record.id}: MLflow refuses the record: {error}"

    def _runs(self, cells: Collection[str]) -> dict[str, list[Run]]:
        """Return the runs of each cell, after those that were abandoned have been deleted."""
        runs: dict[str, list[Run]] = {cell: [] for cell in cells}
        for run in self.experiment.find(cells):
            if run.is_abandoned(self.writer):
                self.experiment.delete(run.id)
            else:
                runs[run.cell].append(run)
        return runs

    def _note_conflict(self, record: Record, run: Run) -> None:
        self.problems.setdefault(
            record.id,
            f"cell {record.id}: MLflow has another result (run {run.id}, digest {run.digest[:8]}; the ledger's is "
            f"{record.digest[:8]}): delete the run in MLflow if the ledger is right, then `tlbench sync`",
        )
