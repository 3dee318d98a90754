"""The thread that writes a suite's results to MLflow beside the driver, so that no cell waits for MLflow."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tlbench.core.errors import UserError
from tlbench.store.addresses import redacted, without_credentials
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow.connection import count_rows
from tlbench.store.mlflow.errors import explain
from tlbench.store.mlflow.experiment import Experiment
from tlbench.store.mlflow.presence import Loss, RenamedError, find_loss
from tlbench.store.mlflow.readers import can_read, open_reader
from tlbench.store.mlflow.reconcile import Reconciler
from tlbench.store.mlflow.tracking_uri import sqlite_path

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_SHOWN = 3  # problems named in an error
_LONGEST_TEXT = 2000


class _UnansweredError(Exception):
    """The store cannot be read now; later it may be. The message is for the user."""


@dataclass(frozen=True)
class Backlog:
    """What MLflow still lacks, and what it had lost.

    Attributes:
        count: Number of cells that it lacks.
        error: Why; without cells that are lacking, why MLflow could not be asked. Empty when nothing is wrong.
        mended: What it had lost of what was written earlier, and has again, as a sentence.
    """

    count: int
    error: str
    mended: str = ""


class BackgroundWriter:
    """Writes what is new in the ledger for one suite to MLflow, in a thread of its own.

    Its life: :meth:`start` once, :meth:`notify` after commits, :meth:`close` at the end. The driver never waits for it
    in between, and nothing is lost when it fails: the next one writes what it did not. At first it asks the store
    whether all is still there that was written earlier, and writes again what is not. Of several for one ledger, suite
    and store, in whatever processes, one works and the others wait.

    Args:
        ledger_path: The ledger; the thread opens it for itself.
        uri: From :func:`tlbench.store.mlflow.tracking_uri.prepare_tracking`.
        workspace: Folder of the workspace, where artifacts go unless a server keeps them.
        suite: Name of the suite, which was claimed in the ledger.
        on_settled: Called by the thread, after every few cells, with the number settled so far.
    """

    def __init__(
        self,
        ledger_path: Path,
        uri: str,
        workspace: Path,
        suite: str,
        on_settled: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._ledger_path, self._uri, self._workspace, self._suite = ledger_path, uri, workspace, suite
        self._tracking = without_credentials(uri)
        self._on_settled = on_settled
        self._notified, self._closing, self._given_up = threading.Event(), threading.Event(), threading.Event()
        self._error = ""
        self._problems: dict[str, str] = {}
        self._experiment: Experiment | None = None
        self._has_written = False
        self._loss: Loss | None = None  # None until the store was asked
        self._has_strays = False  # runs that were deleted before, and came back with the experiment
        self._astray = 0  # cells in an experiment that has another name now
        # A daemon: a server that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"mlflow:{suite}", daemon=True)

    def start(self) -> None:
        """Begin, once; best after torch and ray are imported, for the thread imports mlflow when there is work."""
        if self._thread.ident is None:
            self._thread.start()

    def notify(self) -> None:
        """Say that there may be something new in the ledger."""
        self._notified.set()

    def close(self, timeout: float = 30.0) -> Backlog:
        """Wait until all is written, or until nothing was written for ``timeout`` seconds; return what is left."""
        self._closing.set()
        self._notified.set()
        with Ledger(self._ledger_path) as ledger:
            state = ledger.tracking_state(self._suite, self._tracking)
            before, left = -1, len(state.missing())
            while self._thread.is_alive() and left != before:
                self._thread.join(timeout)
                before, left = left, len(state.missing())
        self._given_up.set()
        is_silent = self._thread.is_alive() and (left or self._loss is None)
        silent = f"{self._tracking}: no answer for {timeout:g} s" if is_silent else ""
        left += self._astray
        mended = self._loss.describe(self._suite) if self._loss is not None and not left else ""
        return Backlog(left, self._error or silent, mended)

    def _run(self) -> None:
        """Work until closed: at once when notified, after growing pauses when MLflow fails."""
        pause = _PAUSE_S
        while not self._given_up.is_set():
            self._notified.clear()
            last = self._closing.is_set()
            try:
                finished = self._write(last)
            except UserError as error:
                self._error = str(error)
                return
            except Exception as error:  # whatever MLflow and the network come up with: later it may work
                self._error = str(error) if isinstance(error, _UnansweredError) else self._message(error)
                self._experiment = None
                if last:
                    return
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            pause = _PAUSE_S
            if finished and last:
                return
            if finished:
                self._notified.wait()
            else:
                self._given_up.wait(_PAUSE_S)

    def _write(self, last: bool) -> bool:
        """Write what is missing; say whether every cell is settled or has a problem.

        Args:
            last: Whether this is the last time, after which a database may count its rows.
        """
        with Ledger(self._ledger_path) as ledger:
            if self._loss is None:
                self._loss = self._ask(ledger)
            if self._is_needed(ledger):
                name = hashlib.sha256(f"{self._suite}\n{self._tracking}".encode()).hexdigest()[:12]
                try:
                    with FileLock(f"{self._ledger_path}-sync-{name}.lock", timeout=0):
                        self._reconcile(ledger)
                except Timeout:
                    self._error = "another tlbench is writing this suite to MLflow"
                if self._is_needed(ledger):
                    return False
        if last and self._has_written:
            count_rows(self._uri)
        problems = list(self._problems.values())
        more = [f"... ({len(problems)} in all)"] if len(problems) > _SHOWN else []
        self._error = "\n".join([*problems[:_SHOWN], *more])
        return True

    def _ask(self, ledger: Ledger) -> Loss:
        """Ask the store what it lacks of what was written there, and note it in the ledger.

        Raises:
            RenamedError: The experiment has another name now.
            _UnansweredError: The store cannot be read now.
        """
        state = ledger.tracking_state(self._suite, self._tracking)
        path = sqlite_path(self._uri)
        if path is not None and not (path.exists() and path.stat().st_size):
            loss = Loss(frozenset(written := state.written()), is_gone=bool(written))
            state.forget()
            return loss
        if not can_read(self._uri):
            return Loss()
        try:
            with open_reader(self._uri) as reader:
                loss = find_loss(reader, ledger, state, self._uri)
        except RenamedError:
            self._astray = len(state.written())
            raise
        except UserError as error:
            raise _UnansweredError(str(error)) from error
        if not loss.is_deleted:  # else all of it counts as there until the experiment has been restored
            state.mark_deleted(loss.cells)
            if loss.tags:
                state.forget_tags()
        return loss

    def _is_needed(self, ledger: Ledger) -> bool:
        """Say whether MLflow is to be changed; asks the ledger alone."""
        state = ledger.tracking_state(self._suite, self._tracking)
        path = sqlite_path(self._uri)
        if path is not None and not path.exists():
            state.forget()
        if self._loss is not None and self._loss.is_deleted and self._experiment is None:
            return True
        return bool(state.missing().keys() - self._problems.keys() or state.unlisted() or state.new_tags() is not None)

    def _reconcile(self, ledger: Ledger) -> None:
        state = ledger.tracking_state(self._suite, self._tracking)
        writer = f"{ledger.identity}@{socket.gethostname()}"
        first = self._experiment is None
        if self._experiment is None:
            restore = self._loss is not None and self._loss.is_deleted
            self._experiment = Experiment(self._uri, self._workspace, self._suite, writer, restore=restore)
            if self._experiment.is_new or self._experiment.is_restored:
                state.forget()
            self._has_strays |= self._experiment.is_restored
        tags = state.new_tags()
        if tags is not None:
            self._experiment.tag(json.loads(tags))
            state.mark_tagged(tags)
        reconciler = Reconciler(ledger, self._experiment, state, writer, self._on_settled, self._problems)
        if first:
            reconciler.delete_abandoned()
        if self._has_strays:
            reconciler.delete_strays()
            self._has_strays = False
        reconciler.delete_unlisted()
        self._has_written |= reconciler.write_pending() > 0
        if first and self._loss is not None and self._loss.cells:
            reconciler.tag_winners()

    def _message(self, error: Exception) -> str:
        """Return the reason of an error and what to do, without the secrets of the address."""
        return f"{self._tracking}: {redacted(explain(error, self._tracking), self._uri)[:_LONGEST_TEXT]}"
