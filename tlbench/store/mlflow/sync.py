"""Keeps MLflow in step with the ledger: a thread beside the driver while a suite runs, or a command afterwards."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from tlbench.core.errors import UserError
from tlbench.store.addresses import redacted, without_credentials
from tlbench.store.ledger import Ledger
from tlbench.store.mlflow.reconcile import Replay
from tlbench.store.mlflow.writer import Experiment, analyze, sqlite_path

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_SHOWN = 3
_LONGEST_TEXT = 500


@dataclass(frozen=True)
class Backlog:
    """What MLflow still lacks: the number of cells, and why (empty when nothing is wrong)."""

    count: int
    error: str


def sync(
    ledger_path: Path,
    uri: str,
    workspace: Path,
    suites: Iterable[str] | None = None,
    *,
    check: bool = False,
    patience: float = 120.0,
    on_settled: Callable[[str, int], None] = lambda suite, count: None,
) -> dict[str, Backlog]:
    """Write what MLflow lacks of the suites that were run here; return what is left, by suite.

    Args:
        ledger_path: The ledger.
        uri: From :func:`tlbench.store.mlflow.writer.prepare`.
        workspace: tlbench's folder.
        suites: Names; all by default.
        check: Ask MLflow about every result, also those that it once had.
        patience: Seconds without progress after which a suite is left.
        on_settled: Called with the suite and the number of its cells settled so far.

    Raises:
        UserError: The ledger cannot be read.
    """
    with Ledger(ledger_path) as ledger:
        names = list(ledger.suites() if suites is None else suites)
        if check:
            for suite in names:
                ledger.forget_synced(suite, without_credentials(uri))
    left = {}
    for suite in names:
        writer = Writer(ledger_path, uri, workspace, suite, partial(on_settled, suite))
        writer.start()
        left[suite] = writer.close(patience)
    return left


class Writer:
    """One suite's writer: a thread that pulls what is new in the ledger and writes it to MLflow.

    Nothing waits for it, and nothing is lost when it fails: the next one writes what it did not. Of several writers
    for one ledger, suite and store, in whatever process, one works and the others stand by.

    Args:
        ledger_path: The ledger; the thread opens it for itself.
        uri: From :func:`tlbench.store.mlflow.writer.prepare`.
        workspace: tlbench's folder, where artifacts go unless a server keeps them.
        suite: Name of the suite, which has claimed its cells in the ledger.
        on_settled: Called by the thread, after every few cells, with the number settled in a row.
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
        self._news, self._closing, self._left = threading.Event(), threading.Event(), threading.Event()
        self._error = ""
        self._troubles: dict[str, str] = {}
        self._experiment: Experiment | None = None
        self._wrote = False
        # A daemon: a server that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._live, name=f"mlflow:{suite}", daemon=True)

    def start(self) -> None:
        """Begin, once; best after torch and ray are imported, for the thread imports mlflow when there is work."""
        if self._thread.ident is None:
            self._thread.start()

    def notify(self) -> None:
        """Say that there may be something new in the ledger."""
        self._news.set()

    def close(self, timeout: float = 30.0) -> Backlog:
        """Wait until all is written, or until nothing was for ``timeout`` seconds; return what is left."""
        self._closing.set()
        self._news.set()
        with Ledger(self._ledger_path) as ledger:
            before, left = -1, len(ledger.unsynced(self._suite, self._tracking))
            while self._thread.is_alive() and left != before:
                self._thread.join(timeout)
                before, left = left, len(ledger.unsynced(self._suite, self._tracking))
        self._left.set()
        silent = f"{self._tracking}: no answer for {timeout:g} s" if left and self._thread.is_alive() else ""
        return Backlog(left, self._error or silent)

    def _live(self) -> None:
        pause = _PAUSE_S
        while not self._left.is_set():
            self._news.clear()
            last = self._closing.is_set()
            try:
                finished = self._work(last)
            except UserError as error:
                self._error = str(error)
                return
            except Exception as error:  # whatever MLflow and the network come up with: later it may work
                self._error = self._told(error)
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
                self._news.wait()
            else:
                self._left.wait(_PAUSE_S)

    def _work(self, last: bool) -> bool:
        """Write what there is; say whether everything is settled or in trouble."""
        with Ledger(self._ledger_path) as ledger:
            if self._needed(ledger):
                name = hashlib.sha256(f"{self._suite}\n{self._tracking}".encode()).hexdigest()[:12]
                try:
                    with FileLock(f"{self._ledger_path}-sync-{name}.lock", timeout=0):
                        self._replay(ledger)
                except Timeout:
                    self._error = "another tlbench is writing this suite to MLflow"
                if self._needed(ledger):
                    return False
        if last and self._wrote:
            analyze(self._uri)
        shown = list(self._troubles.values())
        more = [f"... ({len(shown)} in all)"] if len(shown) > _SHOWN else []
        self._error = "\n".join([*shown[:_SHOWN], *more])
        return True

    def _needed(self, ledger: Ledger) -> bool:
        path = sqlite_path(self._uri)
        if path is not None and not path.exists():
            ledger.forget_synced(self._suite, self._tracking)
        unsynced = ledger.unsynced(self._suite, self._tracking).keys() - self._troubles.keys()
        gone = ledger.disowned(self._suite, self._tracking)
        return bool(unsynced) or bool(gone) or ledger.untagged(self._suite, self._tracking)

    def _replay(self, ledger: Ledger) -> None:
        writer = f"{ledger.identity}@{socket.gethostname()}"
        first = self._experiment is None
        if self._experiment is None:
            self._experiment = Experiment(self._uri, self._workspace, self._suite, writer)
            if self._experiment.is_new:
                ledger.forget_synced(self._suite, self._tracking)
        if ledger.untagged(self._suite, self._tracking):
            tags = ledger.suites()[self._suite]
            self._experiment.tag(json.loads(tags))
            ledger.mark_tagged(self._suite, self._tracking, tags)
        replay = Replay(ledger, self._experiment, self._suite, self._tracking, writer, self._on_settled, self._troubles)
        if first:
            replay.sweep()
        replay.withdraw()
        self._wrote |= replay.run() > 0

    def _told(self, error: Exception) -> str:
        said = f"{self._tracking}: {type(error).__name__}: {error}".partition("\n")[0]
        return redacted(said, self._uri)[:_LONGEST_TEXT]
