"""Files and folders are there whole or not at all, and nothing of an attempt that failed is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlbench.store.atomic_write import remove_drafts, write_file, write_folder, write_new_file

SLOW_WRITER = """
import sys, time
from pathlib import Path
from tlbench.store.atomic_write import write_file
def slowly(stream):
    stream.write(b"half")
    stream.flush()
    time.sleep(60)
write_file(Path(sys.argv[1]), slowly)
"""


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_holds_text_bytes_or_what_a_function_writes(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    assert write_file(path, "é", durable=durable) == path
    assert path.read_bytes() == b"\xc3\xa9"
    write_file(path, b"\x00", durable=durable)
    assert path.read_bytes() == b"\x00"
    write_file(path, lambda stream: stream.write(b"streamed"), durable=durable)
    assert path.read_bytes() == b"streamed"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = write_file(tmp_path / "file", "old")

    def fail(stream: object) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_file(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "file", "old")
    process = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(path)])
    deadline = time.monotonic() + 30
    while not any(draft.stat().st_size for draft in tmp_path.glob(".file.tmp-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert path.read_text() == "old"


def _write_new(path: Path, text: str) -> bool:
    return write_new_file(path, text)


def test_of_several_writers_of_a_new_file_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        wrote = pool.starmap(_write_new, [(path, str(number)) for number in range(9)])
    assert sum(wrote) == 1
    assert path.read_text() == str(wrote.index(True))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "part").write_text("x")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_folder(tmp_path / "folder", fail)
    assert list(tmp_path.iterdir()) == []
    path = write_folder(tmp_path / "folder", lambda folder: (folder / "whole").write_text("x"))
    assert [file.name for file in path.iterdir()] == ["whole"]
    with pytest.raises(OSError, match="not empty"):
        write_folder(path, lambda folder: None)
    assert list(tmp_path.iterdir()) == [path]


def test_drafts_of_a_folder_are_removed_and_no_others(tmp_path: Path) -> None:
    for name in (".folder.tmp-1", ".other.tmp-1"):
        (tmp_path / name).mkdir()
    remove_drafts(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == [".other.tmp-1"]
