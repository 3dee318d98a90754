"""Folders and zips of images: layouts, splits, what is refused, and that content alone makes the fingerprint."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.data import file_tree as tree
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset
from tlbench.store.artifacts import Artifacts


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (6, 5)) -> Image.Image:
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def fill(root: Path, folders: list[str], count: int = 5, mode: str = "RGB") -> Path:
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            picture(100 * place + number, mode).save(root / folder / f"{number}.png")
    return root


def pack(root: Path, file: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*"), reverse=True):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(root).as_posix())
    return file


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def opened(artifacts: Artifacts, path: Path, **params: Any) -> Dataset:
    return open_dataset("folder", {"path": str(path), **params}, artifacts)


def refusal(artifacts: Artifacts, path: Path, **params: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(artifacts, path, **params)
    assert not [f for f in (artifacts.root / "datasets").glob("*") if not f.name.startswith(".")], "left half a dataset"
    return str(caught.value)


def test_class_folders_become_classes(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["wren", "owl"])
    dataset = opened(artifacts, root)
    assert dataset.info.name == "folder(birds)"
    assert dataset.info.classes == ("owl", "wren")
    assert dataset.info.shape == (3, 5, 6)
    assert dataset.info.counts == {"train": (4, 4), "test": (1, 1)}
    for row, path in enumerate(sorted(root.rglob("*.png"))):
        assert np.array_equal(dataset.x[row], np.asarray(Image.open(path)).transpose(2, 0, 1))
        assert dataset.info.classes[dataset.y[row]] == path.parent.name


def test_an_opened_dataset_cannot_change_the_stored_one(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    first = opened(artifacts, root)
    before = first.x[0].copy()
    first.x[0] = 255 - first.x[0]
    assert np.array_equal(opened(artifacts, root).x[0], before)


def test_folder_and_zip_and_moved_copy_have_one_fingerprint(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["Waldkauz 🦉", "Zaunkönig", "сова"])
    copy = shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    (copy / ".DS_Store").write_bytes(b"rubbish")
    packed = pack(root, tmp_path / "birds.zip")
    wrapped = pack(root, tmp_path / "wrapped.zip", "birds/")
    found = {opened(artifacts, path).info.fingerprint for path in (root, copy, packed, wrapped)}
    assert len(found) == 1
    assert opened(artifacts, packed).info.classes == ("Waldkauz 🦉", "Zaunkönig", "сова")


def test_decomposed_file_names_are_the_same_names(tmp_path: Path, artifacts: Artifacts) -> None:
    composed = fill(tmp_path / "one", ["Zaunk\u00f6nig", "a"])
    decomposed = fill(tmp_path / "two", ["Zaunko\u0308nig", "a"])
    assert opened(artifacts, composed).info.fingerprint == opened(artifacts, decomposed).info.fingerprint


@pytest.mark.parametrize("change", ["pixel", "class name", "one more"])
def test_any_change_of_content_gives_another_fingerprint(tmp_path: Path, artifacts: Artifacts, change: str) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    before = opened(artifacts, root).info.fingerprint
    if change == "pixel":
        image = Image.open(root / "a" / "0.png").copy()
        image.putpixel((0, 0), (image.getpixel((0, 0))[0] ^ 1, 0, 0))
        image.save(root / "a" / "0.png")
    elif change == "class name":
        (root / "a").rename(root / "c")
    else:
        picture(999).save(root / "a" / "9.png")
    assert opened(artifacts, root).info.fingerprint != before


def test_an_unchanged_folder_is_decoded_once(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    first = opened(artifacts, root)
    monkeypatch.setattr("tlbench.data.sources.folder.read_image", lambda *_: pytest.fail("decoded again"))
    assert opened(artifacts, root).info == first.info


def test_an_official_split_is_taken(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", [f"{s}/{c}" for s in ("train", "val", "test") for c in ("a", "b")], 3)
    dataset = opened(artifacts, root)
    assert dataset.info.counts == {"train": (3, 3), "val": (3, 3), "test": (3, 3)}
    assert [len(dataset.rows(part)) for part in (TRAIN, VAL, TEST)] == [6, 6, 6]
    tested = sorted((root / "test").rglob("*.png"))
    assert np.array_equal(dataset.x[dataset.rows(TEST)[0]], np.asarray(Image.open(tested[0])).transpose(2, 0, 1))


def test_val_stands_in_for_a_missing_test_split(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", [f"{s}/{c}" for s in ("train", "val") for c in ("a", "b")], 3)
    dataset = opened(artifacts, root)
    assert dataset.info.counts == {"train": (3, 3), "test": (3, 3)}
    assert "val split is the test split" in dataset.info.warnings[0]


def test_splits_of_different_classes_split_the_classes(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["train/a", "train/b", "train/c", "val/d", "test/e", "test/f"])
    info = opened(artifacts, root).info
    assert info.class_splits == {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}
    assert info.counts == {"train": (4,) * 6, "test": (1,) * 6}


def test_a_test_class_without_training_images_is_refused(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "set", ["train/a", "train/b", "test/a", "test/owl"])
    assert "class 'owl' is in test but not in train" in refusal(artifacts, root)


def test_domains_share_their_classes(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "office", [f"{d}/{c}" for d in ("photo", "sketch") for c in ("cup", "pen")])
    dataset = opened(artifacts, root)
    assert dataset.info.classes == ("cup", "pen")
    assert dataset.info.domains == ("photo", "sketch")
    for part, count in ((TRAIN, 4), (TEST, 1)):
        rows = dataset.rows(part)
        assert (np.bincount(dataset.y[rows] * 2 + dataset.domain[rows]) == count).all()
    assert np.array_equal(
        dataset.x[np.flatnonzero((dataset.domain == 1) & (dataset.y == 0))[0]],
        np.asarray(Image.open(root / "sketch" / "cup" / "0.png")).transpose(2, 0, 1),
    )


def test_groups_keep_their_classes_apart_and_together(tmp_path: Path, artifacts: Artifacts) -> None:
    folders = [f"{g}/{c}" for g in ("greek", "latin", "korean", "thai", "khmer") for c in ("c1", "c2")]
    root = fill(tmp_path / "scripts", folders, 2, "L")
    info = opened(artifacts, root, layout="groups").info
    assert info.classes == tuple(sorted(folders))
    assert info.shape == (1, 5, 6)
    assert sorted(sum(info.class_splits.values(), ())) == list(range(10))
    groups = {
        part: {info.classes[label].split("/")[0] for label in labels} for part, labels in info.class_splits.items()
    }
    assert [len(groups[part]) for part in ("train", "val", "test")] == [3, 1, 1]
    assert len(set.union(*groups.values())) == 5


def test_auto_knows_domains_from_groups_and_asks_when_it_cannot(tmp_path: Path, artifacts: Artifacts) -> None:
    apart = fill(tmp_path / "apart", ["x/a", "x/b", "y/c", "z/d"])
    assert opened(artifacts, apart).info.classes == ("x/a", "x/b", "y/c", "z/d")
    mixed = fill(tmp_path / "mixed", ["x/a", "x/b", "y/a"])
    with pytest.raises(UserError, match="layout: domains if equal names are one class"):
        opened(artifacts, mixed)
    assert opened(artifacts, mixed, layout="domains").info.classes == ("a", "b")


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_image_is_named(tmp_path: Path, artifacts: Artifacts, packed: bool) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    (root / "b" / "notes.txt").write_text("not an image")
    path = pack(root, tmp_path / "birds.zip") if packed else root
    assert "b/notes.txt is no image" in refusal(artifacts, path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_image_is_named(tmp_path: Path, artifacts: Artifacts, packed: bool) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    file = root / "a" / "3.png"
    file.write_bytes(file.read_bytes()[:-40])
    path = pack(root, tmp_path / "birds.zip") if packed else root
    assert "a/3.png is damaged" in refusal(artifacts, path)


def test_an_empty_class_folder_is_named(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    (root / "dodo").mkdir()
    assert "class folder 'dodo' has no images" in refusal(artifacts, root)
    with zipfile.ZipFile(pack(fill(tmp_path / "two", ["a", "b"]), tmp_path / "birds.zip"), "a") as archive:
        archive.mkdir("dodo")
    assert "class folder 'dodo' has no images" in refusal(artifacts, tmp_path / "birds.zip")


def test_a_class_of_one_image_is_named(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    (root / "rare").mkdir()
    picture(0).save(root / "rare" / "only.png")
    assert "class 'rare' has only 1 example, but a class needs 2" in refusal(artifacts, root)


def test_files_out_of_place_are_named(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    picture(1).save(root / "stray.png")
    assert "stray.png lies in no class folder" in refusal(artifacts, root)
    (root / "stray.png").unlink()
    assert "lies in no class folder" in refusal(artifacts, root, layout="domains")
    assert "lies 1 folders deep" not in refusal(artifacts, root, layout="domains")
    fill(root, ["deep/er/c"])
    assert "deep/er/c/0.png lies 3 folders deep where the others lie 1" in refusal(artifacts, root)
    assert "there is no such folder" in refusal(artifacts, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "there are no images" in refusal(artifacts, tmp_path / "empty")


def test_unequal_sizes_are_kept_unless_one_is_asked_for(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    picture(1, size=(40, 20)).save(root / "a" / "wide.png")
    text = refusal(artifacts, root, rotations=True)
    assert "6x5, 40x20" in text
    assert "image_size" in text
    assert opened(artifacts, root).info.shape == (3, 0, 0)
    assert opened(artifacts, root, image_size=8).x.shape == (11, 3, 8, 8)


def test_scaling_cuts_the_middle_square(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(root / "a" / "0.png")
    assert opened(artifacts, root, image_size=10).x[0].min() > 180


def test_grey_stays_grey_unless_one_is_coloured(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"], mode="L")
    assert opened(artifacts, root).info.shape == (1, 5, 6)
    picture(5).save(root / "b" / "coloured.png")
    dataset = opened(artifacts, root)
    assert dataset.info.shape == (3, 5, 6)
    assert np.array_equal(dataset.x[0, 0], dataset.x[0, 2])


def test_every_kind_of_pixel_is_read_as_it_is_seen(tmp_path: Path, artifacts: Artifacts) -> None:
    root = tmp_path / "kinds"
    (root / "a").mkdir(parents=True)
    (root / "b").mkdir()
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6) * 8
    Image.fromarray(grey.astype(np.uint16) * 257).save(root / "a" / "1-sixteen.png")
    Image.fromarray(grey > 100).save(root / "a" / "2-bits.png")
    clear = np.dstack([grey * 0, np.where(grey > 100, 255, 0).astype(np.uint8)])
    Image.fromarray(clear, "LA").save(root / "b" / "1-clear.png")
    turned = Image.fromarray(np.rot90(grey).copy())
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    turned.save(root / "b" / "2-turned.png", exif=exif)
    x = opened(artifacts, root).x[:, 0]
    assert np.array_equal(x[0], grey)
    assert np.array_equal(x[1], np.where(grey > 100, 255, 0))
    assert np.array_equal(x[2], np.where(grey > 100, 0, 255)), "transparent is white"
    assert np.array_equal(x[3], grey)


def test_a_zip_that_points_outside_itself_is_refused(tmp_path: Path, artifacts: Artifacts) -> None:
    data = io.BytesIO()
    picture(0).save(data, "png")
    for number, name in enumerate(("../evil/0.png", "/evil/0.png", "a/../../0.png", "a\\..\\0.png")):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, data.getvalue())
        assert "names a place outside itself" in refusal(artifacts, path)


def test_bombs_are_refused_before_they_unpack(
    tmp_path: Path, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 2**20)
    root = fill(tmp_path / "birds", ["a", "b"])
    packed = pack(root, tmp_path / "birds.zip")
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/zeros.png", bytes(8 * 2**20))
    assert packed.stat().st_size < 2**20
    assert "a/zeros.png is larger than 1 MiB" in refusal(artifacts, packed)
    # A picture of 400 megapixels in a few bytes.
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    small = io.BytesIO()
    picture(0, "L").save(small, "png")
    forged = bytearray(small.getvalue())
    forged[16 : 16 + len(header)] = header
    forged[29:33] = struct.pack(">I", zlib.crc32(forged[12:29]))
    (root / "a" / "huge.png").write_bytes(forged)
    assert "megapixels" in refusal(artifacts, root)


def test_a_damaged_zip_is_named(tmp_path: Path, artifacts: Artifacts) -> None:
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK\x03\x04 nothing")
    assert "bad.zip: not a zip file" in refusal(artifacts, bad)
    packed = pack(fill(tmp_path / "birds", ["a", "b"]), tmp_path / "birds.zip")
    data = bytearray(packed.read_bytes())
    data[60:90] = bytes(30)
    packed.write_bytes(data)
    assert "birds.zip: " in refusal(artifacts, packed)


def test_circles_of_links_end(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a", "b"])
    (root / "a" / "again").symlink_to(root)
    assert "a/again is a link to a folder that it lies in" in refusal(artifacts, root)


def test_a_linked_class_folder_is_followed(tmp_path: Path, artifacts: Artifacts) -> None:
    root = fill(tmp_path / "birds", ["a"])
    fill(tmp_path / "store", ["owls"])
    (root / "owl").symlink_to(tmp_path / "store" / "owls")
    assert opened(artifacts, root).info.classes == ("a", "owl")
