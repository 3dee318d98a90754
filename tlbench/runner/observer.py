"""What a run reports while it goes on: whoever shows progress implements :class:`RunObserver`; the runner does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from tlbench.core.record import Record


@dataclass(frozen=True)
class Stage:
    """A part of a run: first the trials of its searches, then its cells.

    Attributes:
        unit: What is counted.
        total: Number of units that the stage comes to, those done by earlier runs included.
        done: Number of units that earlier runs have done.
        workers: Number of units that run at once.
        expected_seconds: Sum of the expected seconds of the units to do; None where some were never measured.
    """

    unit: Literal["cells", "trials"]
    total: int
    done: int
    workers: int
    expected_seconds: float | None = None


class RunObserver(Protocol):
    """Receives the events of a run, in the thread that drives it.

    For each stage: ``on_start`` once its workers have been asked for, ``on_record`` for each record that was committed,
    ``on_end`` when the stage is over, also by an exception. ``on_stop_requested`` may come at any time, out of a signal
    handler.
    """

    def on_start(self, stage: Stage) -> None:
        """Note that a stage begins."""

    def on_record(self, record: Record) -> None:
        """Note a record that was committed."""

    def on_end(self) -> None:
        """Note that the stage is over."""

    def on_stop_requested(self) -> None:
        """Note that the user wants to stop: what is under way is finished, nothing more starts."""


class SilentObserver:
    """Shows nothing."""

    def on_start(self, stage: Stage) -> None:
        """Do nothing."""

    def on_record(self, record: Record) -> None:
        """Do nothing."""

    def on_end(self) -> None:
        """Do nothing."""

    def on_stop_requested(self) -> None:
        """Do nothing."""


@contextmanager
def observed(observer: RunObserver, stage: Stage) -> Iterator[None]:
    """Report the begin and the end of a stage."""
    observer.on_start(stage)
    try:
        yield
    finally:
        observer.on_end()
