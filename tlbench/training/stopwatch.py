"""Measures what a piece of work takes: CPU-seconds of this process, and wall seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up CPU-seconds of this process, all of its threads included, and wall seconds.

    Attributes:
        cpu_seconds: So far, of all pieces of work that have ended.
        seconds: The same in wall seconds.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Return a context whose duration is added; also where an exception ends it."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.cpu_seconds += time.process_time() - cpu
            self.seconds += time.perf_counter() - wall
