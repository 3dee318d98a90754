"""Ctrl-C and SIGTERM as a request to stop after what is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful_stop(on_request: Callable[[], None]) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop; a second one raises :class:`KeyboardInterrupt`.

    Enter it before Ray is started, so that a signal during the start is a request as well
    (:class:`~tlbench.runner.session.RaySession` keeps the handlers). Outside the main thread no signal is caught.

    Args:
        on_request: Called in the signal handler when the request comes.

    Yields:
        The event that is set by the request.
    """
    requested = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        on_request()

    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
