"""Names of files and folders that are not UTF-8, as old archives unpack: read, and readable wherever they are shown."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_folder import fill, opened, pack, picture, refusal

from tlbench.core.hashing import digest
from tlbench.core.paths import is_utf8, kind_of_file, readable
from tlbench.store.artifacts import Artifacts

LATIN = os.fsdecode(b"na\xefve")


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def make(path: Path) -> Path:
    """Make a folder, or skip where the file system takes no such name."""
    try:
        path.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return path


def test_names_are_shown_with_the_numbers_of_their_bytes() -> None:
    assert readable(LATIN) == r"na\xefve"
    assert not is_utf8(LATIN)
    for name in ("plain", "Zaunkönig", "Zaunko\u0308nig", "сова 🦉", r"back\xef"):
        assert readable(name) == name
        assert is_utf8(name)
    readable(LATIN).encode()
    assert len({digest(name) for name in (LATIN, readable(LATIN), os.fsdecode(b"na\xf0ve"), "naïve")}) == 4
    assert digest("naïve") == digest("na\u00efve") != digest("\ud800")


def test_a_file_with_such_a_name_is_an_example_like_others(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["cat", "dog"])
    before = opened(artifacts, root).info
    make(root / "probe" / LATIN).rmdir()
    (root / "probe").rmdir()
    (root / "cat" / "4.png").rename(root / "cat" / f"{LATIN}.png")
    after = opened(artifacts, root).info
    assert (after.fingerprint, after.warnings) == (before.fingerprint, ())  # it still stands last
    (root / "cat" / f"{LATIN}.png").write_bytes(b"rubbish")
    assert r"cat/na\xefve.png" in refusal(Artifacts(tmp_path / "other"), root)


def test_a_class_with_such_a_name_is_readable_and_noted(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["cat", "dog"])
    make(root / LATIN)
    for number in range(2):
        picture(number).save(root / LATIN / f"{number}.png")
    info = opened(artifacts, root).info
    assert info.classes == ("cat", "dog", r"na\xefve")
    assert [note for note in info.warnings if r"not UTF-8, shown with the numbers of their bytes: na\xefve" in note]
    json.dumps(info.classes, ensure_ascii=False).encode()


def test_two_folders_are_never_taken_for_one(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["cat", r"na\xefve"])
    picture(5).save(make(root / LATIN) / "0.png")
    assert r"two folders are called na\xefve, one in bytes that are not UTF-8" in refusal(artifacts, root)


@pytest.mark.parametrize("packed", [False, True])
def test_one_folder_in_two_spellings_is_one_class_with_a_note(
    tmp_path: Path, artifacts: Artifacts, packed: bool
) -> None:
    root = fill(tmp_path / "set", ["a", "Zaunk\u00f6nig", "Zaunko\u0308nig"])
    if len(list(root.iterdir())) < 3:
        pytest.skip("this file system keeps one spelling only")
    info = opened(artifacts, pack(root, tmp_path / "set.zip") if packed else root).info
    assert info.classes == ("Zaunk\u00f6nig", "a")
    assert sum(info.counts["train"]) + sum(info.counts["test"]) == 15
    assert [note for note in info.warnings if "spelt in two ways in Unicode" in note]


def test_a_zip_whose_names_claim_to_be_utf8_is_refused_by_name(tmp_path: Path, artifacts: Artifacts) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("cät/0.png", b"")
    path = tmp_path / "set.zip"
    path.write_bytes(stream.getvalue().replace("cät".encode(), b"c\xff\xfet"))
    assert f"{path}: not a zip file: " in refusal(artifacts, path)


def test_folders_that_are_no_data_are_called_what_they_are(tmp_path: Path, artifacts: Artifacts) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe: is a named pipe, not a folder or zip file" in refusal(artifacts, tmp_path / "pipe")
    assert kind_of_file(Path("/dev/null")) == "a device"
    assert kind_of_file(tmp_path) == "a folder"
    assert kind_of_file(tmp_path / "nothing") == ""


@pytest.mark.slow
def test_a_class_with_such_a_name_is_run_and_reported(tmp_path: Path) -> None:
    fill(tmp_path / "data", ["cat", "dog", "probe"])
    make(tmp_path / "data" / LATIN).rmdir()
    (tmp_path / "data" / "probe").rename(tmp_path / "data" / LATIN)
    (tmp_path / "data" / LATIN / "0.png").rename(tmp_path / "data" / LATIN / f"{LATIN}.png")
    grid = "protocol: classification, methods: [nearest_centroid], backbones: [{name: conv4, width: 4}], seeds: 1"
    dataset = "{name: folder, path: data, image_size: 16}"
    (tmp_path / "suite.yaml").write_text(f"name: latin\ngrids:\n  - {{{grid}, shots: [1], datasets: [{dataset}]}}\n")
    for command in (["check"], ["run", "--reports", "reports"], ["status"]):
        called = [sys.executable, "-m", "tlbench", command[0], "suite.yaml", "--workspace", "home", *command[1:]]
        done = subprocess.run(called, cwd=tmp_path, capture_output=True, check=False)
        said = done.stdout.decode() + done.stderr.decode()
        assert (done.returncode, "Traceback" in said) == (0, False), said
        assert r"bytes: na\xef" in said or command == ["status"]
    assert (tmp_path / "reports" / "latin" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("where", ["suite", "workspace", "data"])
def test_paths_of_suites_data_and_workspaces_are_refused_with_their_name(tmp_path: Path, where: str) -> None:
    odd = make(tmp_path / LATIN)
    fill(odd / "data", ["cat", "dog"])
    (tmp_path / "link").symlink_to(odd / "data")
    grid = "protocol: classification, methods: [nearest_centroid], backbones: [conv4], seeds: 1, shots: [1]"
    suite = (odd if where == "suite" else tmp_path) / "suite.yaml"
    suite.write_text(f"name: odd\ngrids:\n  - {{{grid}, datasets: [{{name: folder, path: {tmp_path / 'link'}}}]}}\n")
    workspace = (odd if where == "workspace" else tmp_path) / "home"
    called = [sys.executable, "-m", "tlbench", "check", str(suite), "--workspace", str(workspace)]
    done = subprocess.run(called, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert rb"na\xefve" in done.stderr
    assert b"the path is not UTF-8" in done.stderr
    assert (b"suite.yaml:3: " in done.stderr) == (where == "data")
