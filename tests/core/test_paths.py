"""Paths of users: what is expanded, what is left as it is, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.core.errors import UserError
from tlbench.core.paths import expand
from tlbench.store.artifacts import artifact_folder
from tlbench.store.workspace import Workspace


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TLBENCH_WORKSPACE", "TLBENCH_HOME", "TLBENCH_ARTIFACTS", "UNSET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEAM", "team")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "meant"),
    [("~/x", "HOME/x"), ("~", "HOME"), ("$HOME/$TEAM/x", "HOME/team/x"), ("a${TEAM}s/b", "ateams/b"), ("a~b", "a~b")],
)
def test_home_and_variables_are_expanded(place: Path, text: str, meant: str) -> None:
    assert expand(text) == Path(meant.replace("HOME", str(place)))


def test_a_path_that_exists_as_it_is_written_is_left_so(place: Path) -> None:
    for name in ("$TEAM", "$UNSET", "~nobody123", "~"):
        (place / "base" / name).mkdir(parents=True)
        assert expand(name, place / "base") == Path(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "~nobody123/x",
            r"~nobody123/x: there is no user 'nobody123' here\n  write the whole path, or \./~nobody123/x",
        ),
        ("loop/x", r"loop/x: links that lead back to themselves"),
        ("x" * 300, r"^x{100}\.\.\.x{50}: a name that is too long"),
        ("$UNSET/x", r"\$UNSET/x: the variable UNSET is not set"),
        ("$TEAM/${UNSET}", "the variable UNSET is not set"),
        ("", "a path is empty"),
        ("  ", "a path is empty"),
        ("a\0b", "no path: embedded null byte"),
    ],
)
def test_what_can_be_no_path_is_refused(place: Path, text: str, message: str) -> None:
    (place / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=message):
        expand(text)


def test_variables_of_the_environment_name_places_as_options_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_WORKSPACE", "~/w")
    monkeypatch.setenv("TLBENCH_ARTIFACTS", "$HOME/arts")
    assert Workspace.at(None).root == Workspace.at(Path("$HOME/w")).root == place / "w"
    assert artifact_folder("default") == place / "arts"
    monkeypatch.setenv("TLBENCH_ARTIFACTS", "~nobody123/x")
    with pytest.raises(UserError, match="no user 'nobody123'"):
        artifact_folder("default")
    assert not list(place.iterdir())
