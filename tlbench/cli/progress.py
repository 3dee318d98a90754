"""Shows how a run goes on: a live line in a terminal, a plain one now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tlbench.cli.words import duration
from tlbench.core.record import Record
from tlbench.runner.observer import Stage

_PLAIN_EVERY = 10.0


class ConsoleObserver:
    """Shows how a run goes on, each of its stages in a line of its own.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: ProgressLine | None = None

    def on_start(self, stage: Stage) -> None:
        """Begin the line of a stage."""
        self._progress = ProgressLine(self._console, stage)

    def on_record(self, record: Record) -> None:
        """Count a record."""
        if self._progress is not None:
            self._progress.add(record)

    def on_end(self) -> None:
        """End the line."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def on_stop_requested(self) -> None:
        """Say how to stop at once."""
        self._console.print("finishing what is under way; Ctrl-C once more stops at once", highlight=False)


class ProgressLine:
    """The line of one stage, from its start until :meth:`close`.

    Args:
        console: Where to write.
        stage: The stage.
    """

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._stage = stage
        self._failed = 0
        self._finished = 0
        self._started = time.monotonic()
        self._printed = 0.0
        self._hours = {"GPU": 0.0, "CPU": 0.0}
        self._live = Live(Text(), console=console, refresh_per_second=4) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def close(self) -> None:
        """Show the line once more, and leave it as it is."""
        if self._live is not None:
            self._live.update(Text(self.line()))
            self._live.stop()
        else:
            self._console.print(self.line(), highlight=False)

    def add(self, record: Record) -> None:
        """Count one record."""
        self._finished += 1
        self._failed += record.status == "failed"
        unit, share = ("GPU", record.cost.gpus) if record.cost.gpus else ("CPU", record.cost.cpus)
        self._hours[unit] += record.cost.seconds * share / 3600
        if self._live is not None:
            self._live.update(Text(self.line()))
        elif time.monotonic() - self._printed > _PLAIN_EVERY:
            self._printed = time.monotonic()
            self._console.print(self.line(), highlight=False)

    def line(self) -> str:
        """Return the line, e.g. ``312/480 · 3 failed · 41.2 GPU-h · ETA 2h10``."""
        unit = "" if self._stage.unit == "cells" else f" {self._stage.unit}"
        parts = [f"{self._stage.done + self._finished}/{self._stage.total}{unit}"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        parts += [f"{hours:.3g} {unit}-h" for unit, hours in self._hours.items() if hours]
        remaining = self._remaining()
        if remaining is not None:
            parts.append(f"ETA {duration(remaining)}")
        return " · ".join(parts)

    def _remaining(self) -> float | None:
        """Return the seconds still to go: as expected at first, more and more as measured; None without either."""
        stage = self._stage
        share = self._finished / max(stage.total - stage.done, 1)
        if share >= 1:
            return None
        measured = (time.monotonic() - self._started) * (1 - share) / share if share else None
        if stage.expected_seconds is None:
            return measured
        expected = stage.expected_seconds / max(stage.workers, 1) * (1 - share)
        return expected if measured is None else share * measured + (1 - share) * expected
