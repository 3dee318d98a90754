"""The hub's cache is used at once; without a network nothing is tried again, and nothing is printed."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlbench.backbones import hub

constants = pytest.importorskip("huggingface_hub.constants", reason="the extras hf and timm bring it")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_known", [])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_what_lies_in_the_cache_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_knock", lambda endpoint: pytest.fail("knocked"))
    assert hub.from_cache_first(lambda: constants.is_offline_mode()) is True
    assert constants.is_offline_mode() is False


@pytest.mark.parametrize("reachable", [True, False])
def test_what_does_not_is_asked_for_where_the_hub_answers(monkeypatch: pytest.MonkeyPatch, reachable: bool) -> None:
    monkeypatch.setattr(hub, "_knock", lambda endpoint: reachable)
    asked: list[bool] = []

    def load() -> str:
        asked.append(constants.is_offline_mode())
        if asked[-1]:
            raise FileNotFoundError("not in the cache")
        return "loaded"

    if reachable:
        assert hub.from_cache_first(load) == "loaded"
        assert asked == [True, False]
    else:
        with pytest.raises(FileNotFoundError, match="not in the cache"):
            hub.from_cache_first(load)
        assert asked == [True]


def test_one_knock_tells_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert hub.is_reachable()
    assert not hub._knock(address)
    assert hub.is_reachable(), "remembered"
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 100)
    assert not hub.is_reachable()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:3128")
    assert hub._knock("http://hub.invalid"), "a proxy may lead there"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not hub.is_reachable()


def test_a_name_that_takes_for_ever_to_look_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_KNOCK_SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", lambda *args, **more: time.sleep(5))
    began = time.monotonic()
    assert not hub._knock("https://hub.invalid")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("name", ["hf:nobody/no-such-encoder", "timm:resnet18"])
def test_what_is_not_to_be_had_is_an_error_at_once_and_nothing_else_is_said(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers" if name.startswith("hf:") else "timm")
    code = f"""
import time
from tlbench.backbones import hub
from tlbench.core.errors import UserError
hub._knock = lambda endpoint: False
from tlbench.backbones import catalog
began = time.monotonic()
try:
    if {name!r}.startswith("hf:"):
        from tlbench.backbones.huggingface_files import find
        find({name!r}, "DEFAULT")
    else:
        from tlbench.backbones.families import timm
        timm.published(timm.describe({name!r}, {{}}, {{"kind": "timm", "name": "DEFAULT"}}))
except UserError as error:
    print(str(error).splitlines()[0][:60], time.monotonic() - began < 30)
"""
    env = {"PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=200)
    assert done.stderr == ""
    assert name in done.stdout
    assert done.stdout.endswith(" True\n")
