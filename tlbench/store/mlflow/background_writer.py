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
from tlbench.store.mlflow.reconcile import Reconciler
from tlbench.store.mlflow.tracking_uri import sqlite_path

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_SHOWN = 3  # problems named in an error
_LONGEST_TEXT = 2000


@dataclass(frozen=True)
class Backlog:
    """What MLflow still lacks: the number of cells, and why (empty when nothing is wrong)."""

    count: int
    error: str


class BackgroundWriter:
    """Writes what is new in the ledger for one suite to MLflow, in a thread of its own.

    Its life: :meth:`start` once, :meth:`notify` after commits, :meth:`close` at the end. The driver never waits for it
    in between, and nothing is lost when it fails: the next one writes what it did not. Of several for one ledger, suite
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
        silent = f"{self._tracking}: no answer for {timeout:g} s" if left and self._thread.is_alive() else ""
        return Backlog(left, self._error or silent)

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
                self._error = self._message(error)
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

    def _is_needed(self, ledger: Ledger) -> bool:
        """Say whether MLflow is to be changed; asks the ledger alone."""
        state = ledger.tracking_state(self._suite, self._tracking)
        path = sqlite_path(self._uri)
        if path is not None and not path.exists():
            state.forget()
        return bool(state.missing().keys() - self._problems.keys() or state.unlisted() or state.new_tags() is not None)

    def _reconcile(self, ledger: Ledger) -> None:
        state = ledger.tracking_state(self._suite, self._tracking)
        writer = f"{ledger.identity}@{socket.gethostname()}"
        first = self._experiment is None
        if self._experiment is None:
            self._experiment = Experiment(self._uri, self._workspace, self._suite, writer)
            if self._experiment.is_new:
                state.forget()
        tags = state.new_tags()
        if tags is not None:
            self._experiment.tag(json.loads(tags))
            state.mark_tagged(tags)
        reconciler = Reconciler(ledger, self._experiment, state, writer, self._on_settled, self._problems)
        if first:
            reconciler.delete_abandoned()
        reconciler.delete_unlisted()
        self._has_written |= reconciler.write_pending() > 0

    def _message(self, error: Exception) -> str:
        """Return the reason of an error and what to do, without the secrets of the address."""
        return f"{self._tracking}: {redacted(explain(error, self._tracking), self._uri)[:_LONGEST_TEXT]}"
