"""The hub of Hugging Face: its cache is read at once, the hub itself is asked only where it can be reached.

Its client asks the hub even for files that lie in its cache, tries again for half a minute where no network is, and
says so in the terminal.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_KNOCK_SECONDS = 4.0
_REMEMBERED_SECONDS = 60.0  # a network may come back while a run goes on
_known: list[tuple[float, bool]] = []  # when the hub was last looked for, and whether it was there


def from_cache_first(load: Callable[[], T], absent: tuple[type[Exception], ...] = (OSError,)) -> T:
    """Load something from the hub's cache; from the hub where it is not there and the hub can be reached.

    Args:
        load: Loads it by a library that uses the hub's client.
        absent: What it raises where something is not in the cache.
    """
    _hush()
    try:
        with _offline():
            return load()
    except absent:
        if not is_reachable():
            raise
    return load()


def is_reachable() -> bool:
    """Say whether the hub can be asked; where nothing is known of it, by a knock of four seconds at most."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return False
    if not _known or time.monotonic() - _known[-1][0] > _REMEMBERED_SECONDS:
        _known[:] = [(time.monotonic(), _knock(constants.ENDPOINT))]
    return _known[-1][1]


def _knock(endpoint: str) -> bool:
    """Say whether something listens at a web address; behind a proxy that is taken to be so."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return True
    opened = threading.Event()

    def connect() -> None:
        with suppress(OSError):
            port = parts.port or (80 if parts.scheme == "http" else 443)
            socket.create_connection((host, port), timeout=_KNOCK_SECONDS).close()
            opened.set()

    # A thread: looking a name up has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_KNOCK_SECONDS)
    return opened.is_set()


@contextmanager
def _offline() -> Iterator[None]:
    from huggingface_hub import constants

    given, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = given


def _hush() -> None:
    """Keep warnings of the hub's client, such as of each try, out of the terminal, unless the user asks for them."""
    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
