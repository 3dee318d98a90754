"""What else lies among images: what other programs leave behind, pipes, and files at another depth than the rest."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from test_folder import fill, opened, pack, picture, refusal

from tlbench.store.artifacts import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.mark.parametrize(
    "name", ["@eaDir", ".ipynb_checkpoints", "__MACOSX", "#recycle", "$RECYCLE.BIN", "__pycache__"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_other_programs_are_passed_over_with_a_note(
    tmp_path: Path, artifacts: Artifacts, name: str, packed: bool
) -> None:
    plain = opened(artifacts, fill(tmp_path / "plain", ["cat", "dog"])).info
    root = fill(tmp_path / "set", ["cat", "dog"])
    fill(root, [f"dog/{name}"], 2)
    (root / name / "deep" / "er").mkdir(parents=True)
    picture(5).save(root / name / "deep" / "er" / "x.png")
    info = opened(artifacts, pack(root, tmp_path / "set.zip") if packed else root).info
    assert (info.fingerprint, info.counts) == (plain.fingerprint, plain.counts)
    assert plain.warnings == ()
    assert len(info.warnings) == 1
    assert info.warnings[0].endswith(f": {name}, dog/{name}")


def test_files_of_desktops_are_passed_over_with_a_note(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["cat", "dog"])
    for name in ("Thumbs.db", "thumbs.db", "Desktop.ini", ".DS_Store"):
        (root / "cat" / name).write_bytes(b"rubbish")
    info = opened(artifacts, root).info
    assert info.counts == {"train": (4, 4), "test": (1, 1)}
    assert info.warnings[0].endswith(": cat/.DS_Store, cat/Desktop.ini, cat/Thumbs.db and 1 more")


@pytest.mark.parametrize("packed", [False, True])
def test_the_file_at_the_rarer_depth_is_named(tmp_path: Path, artifacts: Artifacts, packed: bool) -> None:
    root = fill(tmp_path / "set", ["cat", "dog"])
    fill(root, ["dog/previews"], 1)
    path = pack(root, tmp_path / "set.zip") if packed else root
    said = refusal(artifacts, path)
    assert "dog/previews/0.png lies 2 folders deep where the others lie 1" in said
    assert "all of dog/previews" in said
    domains = fill(tmp_path / "domains", [f"{d}/{c}" for d in ("photo", "sketch") for c in ("a", "b")])
    picture(1).save(domains / "photo" / "odd.png")
    assert "photo/odd.png lies in no class folder" in refusal(artifacts, domains)


@pytest.mark.timeout(60)
def test_pipes_and_devices_are_named_and_never_read(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["cat", "dog"])
    os.mkfifo(root / "cat" / "pipe")
    assert "cat/pipe is no file but a named pipe" in refusal(artifacts, root)
    (root / "cat" / "pipe").unlink()
    (root / "dog" / "zero.png").symlink_to("/dev/zero")
    assert "dog/zero.png is no file but a device" in refusal(artifacts, root)
    (root / "dog" / "zero.png").unlink()
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    assert "gone.png is a link to " in (said := refusal(artifacts, root))
    assert "nowhere.png, where nothing is" in said
    (root / "dog" / "gone.png").unlink()
    (root / "dog" / "loop.png").symlink_to("loop.png")
    assert "loop.png is a link back to itself" in refusal(artifacts, root)


def test_a_zip_of_nothing_but_strays_has_no_images(tmp_path: Path, artifacts: Artifacts) -> None:
    path = tmp_path / "empty.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/a/._0.png", b"")
    assert "there are no images" in refusal(artifacts, path)
