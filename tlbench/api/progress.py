"""Shows how a run goes on: a live line in a terminal or notebook, a plain one now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tlbench.core.record import Record
from tlbench.runner.observer import RunObserver, SilentObserver, Stage

_PLAIN_EVERY = 10.0
_STOPPING = "finishing what is under way; {} once more stops at once"


def observer_for(progress: bool | None) -> RunObserver:
    """Return what shows the progress of a run.

    Args:
        progress: Whether to show it; None shows it in notebooks only.
    """
    notebook = in_notebook()
    if notebook:
        _quieten_libraries()
    if not (notebook if progress is None else progress):
        return SilentObserver()
    return NotebookObserver() if notebook else ConsoleObserver(Console(stderr=True, soft_wrap=True, highlight=False))


def _quieten_libraries() -> None:
    """Keep Ray and tqdm from asking for widgets below a notebook's cell: nothing here uses any."""
    warnings.filterwarnings("ignore", message="IProgress not found")
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)


def in_notebook() -> bool:
    """Say whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def duration(seconds: float) -> str:
    """Return a duration as people write it: ``8s``, ``4m10``, ``2h05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}"


class ConsoleObserver:
    """Shows how a run goes on, each of its stages in a line of its own.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line: ConsoleLine | None = None

    def on_start(self, stage: Stage) -> None:
        """Begin the line of a stage."""
        self._line = ConsoleLine(self._console, stage)

    def on_record(self, record: Record) -> None:
        """Count a record."""
        if self._line is not None:
            self._line.add(record)

    def on_end(self) -> None:
        """End the line."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def on_stop_requested(self) -> None:
        """Say how to stop at once."""
        self._console.print(_STOPPING.format("Ctrl-C"), highlight=False)


class NotebookObserver:
    """Shows how a run goes on below a notebook's cell, each of its stages in a line that changes."""

    def __init__(self) -> None:
        self._count: StageCount | None = None
        self._shown: Any = None  # IPython's handle of what is displayed

    def on_start(self, stage: Stage) -> None:
        """Show the line of a stage."""
        from IPython.display import display  # there in any notebook

        self._count = StageCount(stage)
        self._shown = display(_plain(self._count.line()), display_id=True)

    def on_record(self, record: Record) -> None:
        """Count a record."""
        if self._count is not None:
            self._count.add(record)
            self._show(self._count.line())

    def on_end(self) -> None:
        """Leave the line as it is."""
        self._count = None

    def on_stop_requested(self) -> None:
        """Say how to stop at once."""
        self._show(_STOPPING.format("interrupting"))

    def _show(self, text: str) -> None:
        if self._shown is not None:
            self._shown.update(_plain(text))


def _plain(text: str) -> Any:
    """Return what a notebook displays as a text without quotes."""
    from IPython.display import Pretty

    return Pretty(text)


class StageCount:
    """Counts the records of one stage.

    Args:
        stage: The stage.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._failed = 0
        self._finished = 0
        self._started = time.monotonic()
        self._hours = {"GPU": 0.0, "CPU": 0.0}

    def add(self, record: Record) -> None:
        """Count one record."""
        self._finished += 1
        self._failed += record.status == "failed"
        unit, share = ("GPU", record.cost.gpus) if record.cost.gpus else ("CPU", record.cost.cpus)
        self._hours[unit] += record.cost.seconds * share / 3600

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


class ConsoleLine:
    """The line of one stage on a console, from its start until :meth:`close`.

    Args:
        console: Where to write.
        stage: The stage.
    """

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._count = StageCount(stage)
        self._printed = 0.0
        self._live = Live(Text(), console=console, refresh_per_second=4) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def close(self) -> None:
        """Show the line once more, and leave it as it is."""
        if self._live is not None:
            self._live.update(Text(self._count.line()))
            self._live.stop()
        else:
            self._console.print(self._count.line(), highlight=False)

    def add(self, record: Record) -> None:
        """Count one record."""
        self._count.add(record)
        if self._live is not None:
            self._live.update(Text(self._count.line()))
        elif time.monotonic() - self._printed > _PLAIN_EVERY:
            self._printed = time.monotonic()
            self._console.print(self._count.line(), highlight=False)
