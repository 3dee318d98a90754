"""Disks that fill up: a sentence with what is missing, exit 2, and nothing left behind; never a signal."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.store import disk_space
from tlbench.store.array_files import create_array, write_array
from tlbench.store.artifacts import Artifacts
from tlbench.store.atomic_write import write_file

KIB = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def refuse(code: int) -> Callable[..., None]:
    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refused


def test_files_are_those_that_numpy_writes(tmp_path: Path) -> None:
    array = np.arange(1000, dtype="<f4").reshape(10, 100)
    for each in (array, array[::2, ::3], np.asfortranarray(array), array[:0], np.arange(3, dtype=np.uint8)):
        expected = io.BytesIO()
        np.save(expected, each)
        write_array(tmp_path / "x.npy", each)
        assert (tmp_path / "x.npy").read_bytes() == expected.getvalue()


def test_a_mapped_array_is_zero_and_takes_its_blocks_at_once(tmp_path: Path) -> None:
    array = create_array(tmp_path / "x.npy", np.uint8, (5, 100_000))
    assert isinstance(array, np.memmap)
    assert not array.any()
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= 500_000
    array[3, 7] = 9
    array.flush()
    read = np.load(tmp_path / "x.npy")
    assert (read.shape, read[3, 7], int(read.sum())) == ((5, 100_000), 9, 9)
    assert create_array(tmp_path / "x.npy", np.uint8, (2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, None])
def test_zeros_are_written_where_blocks_cannot_be_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    if code is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse(code))
    array = create_array(tmp_path / "x.npy", np.uint8, (3, 2**20))
    assert array.shape == (3, 2**20)
    assert not array.any()
    assert (tmp_path / "x.npy").stat().st_blocks * 512 >= 3 * 2**20
    write_array(tmp_path / "y.npy", np.arange(7))
    assert np.load(tmp_path / "y.npy").tolist() == list(range(7))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    free = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", refuse(code))
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*free[:4], 3000, *free[5:])))
    store = Artifacts(tmp_path / "store")
    missing = 10**9 - 3000 * free.f_frsize
    for build in (
        lambda folder: create_array(folder / "x.npy", np.uint8, (1000, 10**6)),
        lambda folder: write_array(folder / "x.npy", np.broadcast_to(np.uint8(1), (1000, 10**6))),
    ):
        with pytest.raises(UserError, match=rf"is full: 1\.0 GB are needed .* {missing / 10**6:.1f} MB are missing"):
            store.get("kind", "key", build)
        assert [file.name for file in (tmp_path / "store").rglob("*") if file.is_dir()] == ["kind"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_any_writer_of_an_artifact_may_find_the_disk_full(tmp_path: Path, error: Exception) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_bytes(bytes(10))
        raise error

    with pytest.raises(UserError, match=r"the disk mounted at .+ is full"):
        Artifacts(tmp_path).get("kind", "key", build)
    assert not [file for file in (tmp_path / "kind").iterdir() if file.is_dir()]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        Artifacts(tmp_path).get("kind", "key", lambda _: refuse(errno.EACCES)())
    assert not disk_space.is_disk_full(ValueError("no"))


def test_a_disk_without_room_for_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*facts[:5], 1000, 0, 0, *facts[8:])))
    assert "no room for another file" in str(disk_space.disk_full(tmp_path / "not" / "there", 10))


def test_an_error_while_writing_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_file(tmp_path / "page.html", lambda _: refuse(errno.ENOSPC)())
    assert caught.value.filename == str(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def write_images(folder: Path) -> str:
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.full((120, 120, 3), 20 * number, np.uint8)).save(folder / kind / f"{number}.png")
    return "{name: folder, path: data}"


def write_texts(folder: Path) -> str:
    folder.mkdir()
    lines = "\n".join(f"{'word ' * 8000} {n},{n % 2}" for n in range(10))
    (folder / "texts.csv").write_text(f"text,label\n{lines}\n")
    return "{name: texts, path: data/texts.csv}"


@pytest.mark.parametrize(("write", "backbone"), [(write_images, "{name: conv4, width: 4}"), (write_texts, "text_mini")])
def test_check_ends_with_a_sentence_on_a_full_disk(
    tmp_path: Path, small_disk: Path, write: Callable[[Path], str], backbone: str
) -> None:
    dataset = write(tmp_path / "data")
    grid = f"protocol: classification, methods: [nearest_centroid], backbones: [{backbone}], datasets: [{dataset}]"
    (tmp_path / "suite.yaml").write_text(f"name: full\ngrids:\n  - {{{grid}, shots: [1], seeds: 1}}\n")
    command = [sys.executable, "-m", "tlbench", "check", "suite.yaml", "--workspace", str(small_disk / "home")]
    done: Any = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"the disk mounted at {small_disk} is full: 4" in done.stderr  # some 400 kB are needed
    assert "are missing" in done.stderr
    left = [file for file in small_disk.rglob("*") if file.is_file() and file.stat().st_size]
    assert {file.name for file in left} <= {"content.json"}, "what the data hash to, of some bytes"
