"""Where no Ray cluster answers, a sentence says so within seconds, whatever listens there, and no line of Ray's log."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ray._private.services import find_gcs_addresses
from small_suites import suite

from tlbench.core.errors import UserError
from tlbench.runner import cluster_address
from tlbench.runner.cluster_address import find_cluster

SMALL = suite("small", {"methods": ["nearest_centroid"], "shots": [1], "seeds": 1})
NOT_RAY = "something listens there, but it does not answer as a Ray cluster"


@pytest.fixture(autouse=True)
def _folder_of_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of Ray's own without a cluster; ``ray_current_cluster`` in it names the last one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        yield


@contextmanager
def silent() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextmanager
def web() -> Iterator[int]:
    quiet: dict[str, Any] = {"log_message": lambda *args: None}
    server = ThreadingHTTPServer(("0.0.0.0", 0), type("Handler", (BaseHTTPRequestHandler,), quiet))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("listener", [silent, web])
def test_something_else_that_listens_is_not_waited_for(
    listener: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_address, "_ANSWER_SECONDS", 2.0)
    with listener() as port:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        for address in ("auto", f"127.0.0.1:{port}"):
            with pytest.raises(UserError, match=NOT_RAY):
                find_cluster(address)


def test_a_cluster_that_is_gone_is_named_by_where_its_address_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"at 'auto', which is 127\.0\.0\.1:1 by RAY_ADDRESS: Connection refused"):
        find_cluster("auto")
    monkeypatch.delenv("RAY_ADDRESS")
    assert "none runs on this machine, and RAY_ADDRESS names none" in refusal_without_other_clusters("auto")
    Path(os.environ["RAY_TMPDIR"], "ray", "ray_current_cluster").write_text("127.0.0.1:1")
    assert re.search(r"at 'auto' \([\d.]+:1\): Connection refused", refusal_without_other_clusters("auto"))


def refusal_without_other_clusters(address: str) -> str:
    """Return what `find_cluster` says; skip where a cluster of other tests ran meanwhile, since ``auto`` finds it."""
    others = find_gcs_addresses()
    try:
        find_cluster(address)
        refusal = ""
    except UserError as error:
        refusal = str(error)
    if others | find_gcs_addresses():
        pytest.skip("another cluster runs on this machine")
    return refusal


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "no address"),
        ("here", "no address"),
        ("127.0.0.1:port", "no address"),
        ("127.0.0.1:99999", ""),
        ("ray://127.0.0.1:10001", "Ray Client is not used"),
        ("no-such-host.invalid:6379", ""),
    ],
)
def test_what_is_no_address_is_refused(address: str, message: str) -> None:
    with pytest.raises(UserError, match=f"no Ray cluster at '{address}': .*{message}"):
        find_cluster(address)


def test_a_run_says_it_in_time_and_nothing_else_is_said(
    tmp_path: Path, environment: dict[str, str], write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    with silent() as port:
        env = environment | {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_TMPDIR": os.environ["RAY_TMPDIR"]}
        command = [sys.executable, "-m", "tlbench", "run", str(write_suite(SMALL)), "--address", "auto"]
        began = time.monotonic()
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100)
        assert time.monotonic() - began < 40  # 11 s on a machine that does nothing else
    assert done.returncode == 2
    assert done.stdout == "small: 1 cell · 1 todo\n"
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error no Ray cluster at 'auto', which is 127.0.0.1:{port} by RAY_ADDRESS")
    assert NOT_RAY in first
    assert second == "  start one with `ray start --head`, or leave --address out"
