"""Finds the Ray cluster that an address means, and says within seconds when there is none."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from typing import IO, Any

from tlbench.core.errors import UserError

_CONNECT_SECONDS = 4.0
_IMPORT_SECONDS = 120.0  # of Ray, on a machine that is very busy
_ANSWER_SECONDS = 8.0  # a cluster that is there takes a hundredth of one
_START_ONE = "start one with `ray start --head`, or leave --address out"
_WITH_TOKEN = "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE give the token of the cluster"
_NOT_RAY = "something listens there, but it does not answer as a Ray cluster; the port of one's head is 6379 by default"


def find_cluster(address: str) -> str:
    """Return the ``HOST:PORT`` of the cluster that an address means.

    Args:
        address: ``HOST:PORT``; or ``auto``: that of ``$RAY_ADDRESS``, else the one that runs on this machine.

    Raises:
        UserError: No Ray cluster answers there; told within 15 seconds, unless the machine takes longer to import Ray.
    """
    named = (os.environ.get("RAY_ADDRESS") if address == "auto" else address) or address
    shown = repr(address) if named == address else f"{address!r}, which is {named} by RAY_ADDRESS"
    if "://" in named:
        raise UserError(f"no Ray cluster at {shown}: Ray Client is not used", "give HOST:PORT of the cluster's head")
    if named != "auto":
        _knock(named, shown)
    process = subprocess.Popen(
        [sys.executable, "-m", "tlbench.runner.probe_cluster", named],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # lines of Ray's log
        text=True,
    )
    try:
        return _answer(process, named, shown)
    finally:
        process.kill()
        process.wait()


def _answer(process: subprocess.Popen[str], named: str, shown: str) -> str:
    """Return where the cluster is that the process has found.

    Raises:
        UserError: It has found none.
    """
    assert process.stdout is not None
    words: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(process.stdout, words), daemon=True).start()
    place = ""
    deadline = time.monotonic() + _IMPORT_SECONDS
    while True:
        try:
            said = words.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise UserError(f"no Ray cluster at {shown}: {_NOT_RAY}", _START_ONE) from None
        if said is None:  # this Ray knows no such client: let ray.init find out
            return place or named
        if "refused" in said:
            hint = _WITH_TOKEN if "oken" in said["refused"] else _START_ONE
            raise UserError(f"no Ray cluster at {shown}: {said['refused']}", hint)
        if "machines" in said:
            return place
        place = said["at"]
        if place != named:
            shown = f"{shown} ({place})" if place not in shown else shown
            _knock(place, shown)
        deadline = time.monotonic() + _ANSWER_SECONDS


def _listen(stream: IO[str], words: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in stream:
        if line.startswith("{"):
            words.put(json.loads(line))
    words.put(None)


def _knock(place: str, shown: str) -> None:
    """Refuse an address where nothing listens.

    Raises:
        UserError: Nothing does, or it is no address.
    """
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"no Ray cluster at {shown}: no address", "give HOST:PORT of the cluster's head, or `auto`")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"no Ray cluster at {shown}: {reason}", _START_ONE) from error
