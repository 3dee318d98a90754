"""Ray's sockets find a short folder where the one for temporary files has too long a path."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlbench.core.errors import UserError
from tlbench.runner import session


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the short folder is made: a place of the test's own."""
    monkeypatch.setenv("RAY_TMPDIR", "")
    monkeypatch.delenv("RAY_TMPDIR")
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        monkeypatch.setattr(session, "_SHORT_FOLDER", f"{folder}/own-{{}}")
        yield Path(folder) / f"own-{os.getuid()}"


LONG = "/tmp/slurm_jobdir_of_a_cluster/1234567/and_some_more_folders/tmp"


def test_a_long_folder_is_replaced_by_a_short_one_of_the_users_own(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", LONG)
    for _ in range(2):
        session._shorten_temporary_folder()
        assert os.environ.pop("RAY_TMPDIR") == str(short)
    assert stat.S_IMODE(short.stat().st_mode) == 0o700
    socket = f"{'x' * session._LONGEST_FOLDER}/ray/session_2026-11-30_12-15-10_870013_4194304/sockets/plasma_store"
    assert len(socket) <= 107  # what AF_UNIX takes


def test_a_folder_that_is_short_enough_is_left(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp/job")
    session._shorten_temporary_folder()
    assert "RAY_TMPDIR" not in os.environ
    assert not short.exists()


def test_a_long_folder_that_the_user_named_for_ray_is_refused(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    with pytest.raises(UserError, match=r"RAY_TMPDIR is too long for Ray's sockets: /tmp/slurm.*\n  set RAY_TMPDIR to"):
        session._shorten_temporary_folder()


@pytest.mark.parametrize("kind", ["link", "open", "file"])
def test_a_short_folder_that_others_may_have_made_is_not_used(
    short: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setenv("TMPDIR", LONG)
    if kind == "link":
        short.symlink_to(tmp_path)
    elif kind == "file":
        short.write_text("")
    else:
        short.mkdir()
        short.chmod(0o777)
    with pytest.raises(UserError, match=r"too long for Ray's sockets.*\n  set RAY_TMPDIR"):
        session._shorten_temporary_folder()
    assert "RAY_TMPDIR" not in os.environ
