"""Data that are replaced by others of the same names, sizes and times are noticed; those that are the same stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_folder import fill, pack

from tlbench.core.errors import UserError
from tlbench.data import file_marks
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import Dataset
from tlbench.data.sources import folder as folder_source
from tlbench.store.artifacts import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def write_images(root: Path, version: int) -> Path:
    """Write bitmaps, whose size does not depend on their pixels."""
    for kind in ("cat", "dog"):
        (root / kind).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng([version, number, len(root.parts)]).integers(0, 256, (9, 9, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / kind / f"{number}.bmp")
    return root


def write_csv(file: Path, version: int) -> Path:
    file.write_text("text,label\n" + "".join(f"text {n},{(n + version) % 2}\n" for n in range(10)))
    return file


def write_jsonl(file: Path, version: int) -> Path:
    file.write_text("".join(f'{{"text": "text {n}", "label": "{(n + version) % 2}"}}\n' for n in range(10)))
    return file


def write_zip(file: Path, version: int) -> Path:
    folder = write_images(file.with_suffix(f".{version}"), version)
    for path in folder.rglob("*"):
        os.utime(path, (0, 315532800))
    pack(folder, file)
    return file


def at_the_same_time(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        os.utime(each, ns=(0, 0))


def opened(path: Path, artifacts: Artifacts) -> Dataset:
    kind = "texts" if path.suffix in (".csv", ".jsonl") else "folder"
    return open_dataset(kind, {"path": str(path)}, artifacts)


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_images, "set"), (write_zip, "set.zip"), (write_csv, "set.csv"), (write_jsonl, "set.jsonl")],
)
def test_other_content_of_the_same_names_sizes_and_times_is_noticed(
    tmp_path: Path, artifacts: Artifacts, write: Callable[[Path, int], Path], name: str
) -> None:
    path, sizes, found = tmp_path / name, [], []
    for version in (0, 1, 0):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for old in tmp_path.glob("set.[01]"):
            shutil.rmtree(old)
        write(path, version)
        at_the_same_time(path)
        sizes.append([(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(path.rglob("*"))])
        found.append(opened(path, artifacts).info.fingerprint)
    assert sizes[0] == sizes[1]
    assert found[0] != found[1]
    assert found[2] == found[0]


def test_a_file_written_over_in_place_is_noticed(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlbench.data.file_tree.sample", lambda _: "")  # the change lies where no sample is taken
    root = write_images(tmp_path / "set", 0)
    at_the_same_time(root)
    before, inode = opened(root, artifacts).info.fingerprint, (root / "cat" / "0.bmp").stat().st_ino
    data = bytearray((root / "cat" / "0.bmp").read_bytes())
    data[-5] ^= 1
    (root / "cat" / "0.bmp").write_bytes(data)
    at_the_same_time(root)
    assert (root / "cat" / "0.bmp").stat().st_ino == inode
    assert opened(root, artifacts).info.fingerprint != before


@pytest.mark.parametrize("write", [write_images, write_zip])
def test_content_is_noticed_where_a_file_system_keeps_no_times_of_change(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, int], Path]
) -> None:
    monkeypatch.setattr("tlbench.data.file_tree.stamp", lambda facts: (facts.st_mtime_ns, 0, 0))
    path = tmp_path / "set.zip"
    found = set()
    for version in (0, 1):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        write(path, version)
        at_the_same_time(path)
        found.add(opened(path, artifacts).info.fingerprint)
    assert len(found) == 2


def test_a_sample_has_pieces_of_all_of_a_few_files_and_of_some_of_many(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_bytes(bytes(64 * 4096))
    before = file_marks.sample([(str(one), 64 * 4096)])
    with one.open("r+b") as stream:
        stream.seek(17 * 4096 + 5)
        stream.write(b"x")
    assert file_marks.sample([(str(one), 64 * 4096)]) != before
    many = [tmp_path / f"{number}" for number in range(300)]
    for file in many:
        file.write_bytes(b"a" * 10)
    listed = [(str(file), 10) for file in many]
    before = file_marks.sample(listed)
    changed = 0
    for file in many:
        file.write_bytes(b"b" * 10)
        changed += file_marks.sample(listed) != before
        file.write_bytes(b"a" * 10)
    assert 50 <= changed <= 64
    assert file_marks.sample([]) == file_marks.sample([])


def test_copied_and_touched_files_are_read_but_not_decoded_again(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_images(tmp_path / "set", 0)
    first = opened(root, artifacts)
    monkeypatch.setattr("tlbench.data.sources.folder.read_image", lambda *_: pytest.fail("decoded again"))
    shutil.copytree(root, tmp_path / "copy")
    shutil.rmtree(root)
    (tmp_path / "copy").rename(root)
    (root / "cat" / "0.bmp").touch()
    (root / "dog").chmod(0o700)
    assert opened(root, artifacts).info == first.info


@pytest.mark.parametrize("packed", [False, True])
def test_unchanged_files_are_not_read_a_second_time(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    root = write_images(tmp_path / "set", 0)
    path = pack(root, tmp_path / "set.zip") if packed else root
    first = opened(path, artifacts)
    monkeypatch.setattr("tlbench.data.file_tree.Tree.read", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr("tlbench.data.file_tree.content_hash", lambda *_: pytest.fail("hashed again"))
    assert opened(path, artifacts).info == first.info


@pytest.mark.parametrize("step", ["content", "decode"])
def test_files_that_change_while_they_are_read_are_refused(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    root = write_images(tmp_path / "set", 0)
    real = getattr(folder_source, step)

    def disturbed(*given: object) -> object:
        value = real(*given)
        (root / "cat" / "late.bmp").write_bytes((root / "cat" / "0.bmp").read_bytes())
        return value

    with monkeypatch.context() as patched:
        patched.setattr(folder_source, step, disturbed)
        with pytest.raises(UserError, match="changed while they were read"):
            opened(root, artifacts)
    assert len(opened(root, artifacts).y) == 9


def test_strays_that_come_later_are_noted(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["cat", "dog"])
    before = opened(root, artifacts).info
    (root / "cat" / "Thumbs.db").write_bytes(b"rubbish")
    after = opened(root, artifacts).info
    assert (before.warnings, len(after.warnings)) == ((), 1)
    assert before.fingerprint == after.fingerprint


def test_fingerprints_of_content_are_those_that_results_were_stored_with(tmp_path: Path, artifacts: Artifacts) -> None:
    """Figures of the version before content decided."""
    for kind in ("cat", "dog"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((4, 5, 3), 20 * number + 7 * len(kind) + (kind == "dog"), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / kind / f"{number}.png")
    assert opened(tmp_path / "set", artifacts).info.fingerprint == "82429fd842a0ec77867b42441a1e6764"
    assert opened(write_csv(tmp_path / "set.csv", 0), artifacts).info.fingerprint == "e4122982bea9f10e2f4ac985d77817c1"
