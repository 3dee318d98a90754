"""One line that tells how a run stands: a live one in a terminal, now and then a plain one elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tlbench.core.record import Record
from tlbench.planning.cell_text import clock

_PLAIN_EVERY = 10.0


class Progress:
    """Counts records as they come in; use it as a context manager.

    Args:
        console: Where to write.
        total: Cells of the plan.
        done: Cells of the plan that were done before.
        expected: Seconds that the cells to do are known to take, all together; None where some were never measured.
        slots: How many run at once.
        unit: What is counted, where it is not cells.
    """

    def __init__(
        self, console: Console, total: int, done: int, expected: float | None, slots: int, unit: str = ""
    ) -> None:
        self.failed = 0
        self.finished = 0
        self._console = console
        self._total = total
        self._done = done
        self._expected = expected
        self._slots = max(slots, 1)
        self._unit = f" {unit}" if unit else ""
        self._begun = time.monotonic()
        self._hours = {"GPU": 0.0, "CPU": 0.0}
        self._todo = total - done
        self._spoken = 0.0
        self._live = Live(Text(), console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text(self.line()))
            self._live.stop()
        else:
            self._console.print(self.line(), highlight=False)

    def add(self, record: Record) -> None:
        """Count one record."""
        self.finished += 1
        self.failed += record.status == "failed"
        unit, share = ("GPU", record.cost.gpus) if record.cost.gpus else ("CPU", record.cost.cpus)
        self._hours[unit] += record.cost.seconds * share / 3600
        if self._live is not None:
            self._live.update(Text(self.line()))
        elif time.monotonic() - self._spoken > _PLAIN_EVERY:
            self._spoken = time.monotonic()
            self._console.print(self.line(), highlight=False)

    def line(self) -> str:
        """Return the line, e.g. ``312/480 · 3 failed · 41.2 GPU-h · ETA 2h10``."""
        parts = [f"{self._done + self.finished}/{self._total}{self._unit}"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts += [f"{hours:.3g} {unit}-h" for unit, hours in self._hours.items() if hours]
        remaining = self._remaining()
        if remaining is not None:
            parts.append(f"ETA {clock(remaining)}")
        return " · ".join(parts)

    def _remaining(self) -> float | None:
        """Return the seconds still to go: as estimated at first, more and more as measured; None without either."""
        share = self.finished / max(self._todo, 1)
        if share >= 1:
            return None
        measured = (time.monotonic() - self._begun) * (1 - share) / share if share else None
        if self._expected is None:
            return measured
        prior = self._expected / self._slots * (1 - share)
        return prior if measured is None else share * measured + (1 - share) * prior
