"""Names on their way from a folder or zip to a class: as they are written, once each, told of where unclear."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from test_folder import fill, opened, pack, picture, refusal

from tlbench.store.artifacts import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def zipped(file: Path, names: list[bytes], flag: int = 0) -> Path:
    """Write a zip whose names are these very bytes, without the flag that says UTF-8 unless it is given."""
    with zipfile.ZipFile(file, "w") as archive:
        for number, _ in enumerate(names):
            stream = io.BytesIO()
            picture(number).save(stream, "png")
            archive.writestr(f"@@{number:02d}@@".ljust(len(names[number]), "@"), stream.getvalue())
    content = file.read_bytes()
    for number, name in enumerate(names):
        content = content.replace(f"@@{number:02d}@@".ljust(len(name), "@").encode(), name)
    file.write_bytes(content)
    return file


def in_classes(*classes: bytes) -> list[bytes]:
    return [b"%s/picture-%d.png" % (name, number) for name in classes for number in range(5)]


def test_a_zip_with_a_file_twice_is_refused(tmp_path: Path, artifacts: Artifacts) -> None:
    path = pack(fill(tmp_path / "set", ["cat", "dog"]), tmp_path / "set.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("dog/0.png", archive.read("cat/0.png"))
    assert "the zip holds two files called dog/0.png" in refusal(artifacts, path)


@pytest.mark.parametrize("packed", [False, True])
def test_folders_that_differ_by_unicode_form_are_one_class_with_a_note(
    tmp_path: Path, artifacts: Artifacts, packed: bool
) -> None:
    root = fill(tmp_path / "set", ["\u00e9", "e\u0301", "dog"])
    info = opened(artifacts, pack(root, tmp_path / "set.zip") if packed else root).info
    assert (info.classes, info.counts) == (("dog", "\u00e9"), {"train": (4, 8), "test": (1, 2)})
    assert info.warnings == ("folders whose names are spelt in two ways in Unicode, read as one each: \u00e9",)
    alone = opened(artifacts, fill(tmp_path / "alone", ["e\u0301/\u00e9", "e\u0301/e\u0301", "a/x", "a/y"])).info
    assert alone.warnings[0].endswith("read as one each: \u00e9/\u00e9")


def test_names_in_utf8_are_read_so_where_the_zip_does_not_say_it(tmp_path: Path, artifacts: Artifacts) -> None:
    info = opened(artifacts, zipped(tmp_path / "mac.zip", in_classes("Zaunkönig".encode(), "сова".encode()))).info
    assert (info.classes, info.warnings) == (("Zaunkönig", "сова"), ())
    assert info.counts == {"train": (4, 4), "test": (1, 1)}


def test_names_in_an_old_page_are_told_of(tmp_path: Path, artifacts: Artifacts) -> None:
    info = opened(artifacts, zipped(tmp_path / "dos.zip", in_classes("Zaunkönig".encode("cp437"), b"owl"))).info
    assert info.classes == ("Zaunkönig", "owl")
    assert info.warnings[0].startswith(
        "names in the zip that are not UTF-8, read as code page 437: Zaunkönig/picture-0.png"
    )
