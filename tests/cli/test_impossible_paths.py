"""Paths that cannot be, in suites and options: a sentence with exit code 2, and no folder made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BAD = [
    ("~nobody123/x", "there is no user 'nobody123' here"),
    ("loop", "links that lead back to themselves"),
    ("x" * 300, "a name that is too long"),
    ("$TLBENCH_UNSET/x", "the variable TLBENCH_UNSET is not set"),
    ("", "a path is empty"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_path_in_a_suite_that_cannot_be_is_named_with_its_line(
    command: Any, file: Any, here: Path, text: str, message: str
) -> None:
    (here / "loop").symlink_to("loop")
    said = command("check", file(datasets=[{"name": "folder", "path": text}]))
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert "looked.yaml:" in said.err
    weights = {"name": "conv4", "weights": {"file": text}}
    said = command("check", file(backbones=[weights]))
    assert said.code == 2
    assert "looked.yaml:" in said.err
    assert message in said.err or not text


@pytest.mark.parametrize(("text", "message"), BAD)
def test_an_option_that_can_be_no_path_is_refused(
    command: Any, file: Any, here: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (here / "loop").symlink_to("loop")
    suite, before = file(), sorted([*here.iterdir(), here / "looked.yaml"])
    said = [command("plan", suite, "--workspace", text), command("report", suite, "--reports", text)]
    said.append(command("plan", text))
    if text:
        monkeypatch.setenv("TLBENCH_WORKSPACE", text)
        said.append(command("plan", suite))
    assert [each.code for each in said] == [2] * len(said)
    assert all(message in each.err for each in said)
    assert sorted({*here.iterdir(), here / "looked.yaml"}) == sorted(set(before))


def test_home_and_variables_are_expanded_in_options_and_suites(
    command: Any, file: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("PLACE", "own")
    assert command("plan", file(), "--workspace=~/$PLACE").code == 0
    assert (here / "own" / "ledger.sqlite").exists()
    said = command("check", file(datasets=[{"name": "folder", "path": "$HOME/data"}]))
    assert f"{here}/data: there is no such folder" in said.err
