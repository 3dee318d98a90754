"""Images that differ in size: kept as they are, and read by each network as its own evaluation reads them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tlbench.backbones.backbone import Prepare, image_input
from tlbench.backbones.catalog import describe
from tlbench.backbones.image_recipe import framing
from tlbench.core.errors import UserError
from tlbench.data import catalog
from tlbench.data.dataset import Dataset
from tlbench.data.framed import frame
from tlbench.data.framing import Framing
from tlbench.data.mixed_images import MixedImages, bounded, squared
from tlbench.store.artifacts import Artifacts
from tlbench.testing.dataset_contract import check_dataset

SIZES = [(40, 60), (60, 40), (48, 48), (33, 71), (50, 51), (64, 47)]


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    x = 127 + 80 * np.stack([np.sin(rows / a + seed) * np.cos(columns / 5) for a in (3, 5, 7)], -1)
    return x.clip(0, 255).astype(np.uint8)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two classes of photographs, each of every size twice."""
    path = tmp_path / "mixed.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for number, (label, size) in enumerate((label, size) for label in "ab" for size in SIZES * 2):
            content = io.BytesIO()
            Image.fromarray(photo(*size, seed=number)).save(content, "PNG")
            opened.writestr(f"{label}/{number:02}.png", content.getvalue())
    return path


def opened(path: Path, tmp_path: Path, name: str = "folder", **params: object) -> Dataset:
    return catalog.open_dataset(name, {"path": str(path), **params}, Artifacts(tmp_path / "store"))


def test_they_need_no_size_and_keep_their_own(archive: Path, tmp_path: Path) -> None:
    data = opened(archive, tmp_path)
    check_dataset(data)
    assert isinstance(data.x, MixedImages)
    assert [image.shape[1:] for image in data.x] == SIZES * 4
    assert all(
        np.array_equal(image.transpose(1, 2, 0), photo(*size, seed=number))
        for number, (image, size) in enumerate(zip(data.x, SIZES * 4, strict=True))
    )
    assert (data.info.shape, data.info.short_side) == ((3, 0, 0), 43)
    (note,) = [note for note in data.info.warnings if "differ in size" in note]
    assert "from 48x48 to 47x64; they are kept so (0 MB)" in note
    assert opened(archive, tmp_path, image_size=32).info.shape == (3, 32, 32)
    with pytest.raises(UserError, match="differ in size"):
        opened(archive, tmp_path, rotations=True)


def test_other_pixels_or_another_size_are_another_dataset(archive: Path, tmp_path: Path) -> None:
    prints = {opened(archive, tmp_path).info.fingerprint, opened(archive, tmp_path, invert=True).info.fingerprint}
    turned = tmp_path / "turned.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(turned, "w") as new:
        for name in old.namelist():
            image = Image.open(io.BytesIO(old.read(name)))
            content = io.BytesIO()
            Image.fromarray(np.asarray(image).reshape(image.width, image.height, 3)).save(content, "PNG")
            new.writestr(name, content.getvalue())
    assert len(prints | {opened(turned, tmp_path).info.fingerprint}) == 3, "the same bytes, in other shapes"


@pytest.mark.parametrize(
    "how",
    [
        Framing(28, 32, "bicubic"),
        Framing(29, 32, "bicubic"),
        Framing(32, 32, "bicubic"),
        Framing(45, 50, "bicubic"),
        Framing(28, 32),
        Framing(32, 32, "bicubic", "squash"),
    ],
)
def test_networks_read_the_pixels_that_they_would_read_of_the_whole_image(how: Framing) -> None:
    """Scaled and cut in one step by Pillow, as evaluations do."""
    for seed, (height, width) in enumerate([*SIZES, (90, 41), (41, 90)]):
        pixels = photo(height, width, seed).transpose(2, 0, 1)
        square = squared(pixels, how, (0, 0, 0))
        assert square.shape == (3, how.resize, how.resize)
        start = round((how.resize - how.image_size) / 2)
        read = square[:, start : start + how.image_size, start : start + how.image_size]
        kernel = Image.Resampling.BICUBIC if how.interpolation == "bicubic" else Image.Resampling.BILINEAR
        if how.fit == "squash":
            new = (how.resize, how.resize)
        else:
            new = tuple(int(how.resize * side / min(height, width)) for side in (width, height))
        whole = np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).resize(new, kernel))
        top, left = (round((side - how.image_size) / 2) for side in whole.shape[:2])
        expected = whole[top : top + how.image_size, left : left + how.image_size].transpose(2, 0, 1)
        assert np.array_equal(read, expected)


def test_squares_are_made_once_a_network_and_lie_on_disk(archive: Path, tmp_path: Path) -> None:
    data, artifacts = opened(archive, tmp_path), Artifacts(tmp_path / "store")
    info = describe("resnet18", {}, {"kind": "torchvision", "name": "DEFAULT"})
    read = frame(data, framing(info.recipe), (124, 116, 104), artifacts)
    assert isinstance(read.x, np.ndarray)
    assert read.x.shape == (24, 3, 256, 256)
    assert read.info.shape == (3, 256, 256)
    assert read.info.fingerprint == data.info.fingerprint
    assert [path.name for path in (tmp_path / "store").glob("framed/[!.]*")] == [read.tokens]
    assert frame(data, framing(info.recipe), (124, 116, 104), artifacts).tokens == read.tokens
    assert frame(read, framing(info.recipe), (124, 116, 104), artifacts) is read
    assert Prepare(image_input(info))(torch.from_numpy(read.x[:2])).shape == (2, 3, 224, 224)


def test_large_images_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    assert bounded(512, 4000) == (512, 4000)
    assert bounded(1024, 1536) == (512, 768)
    folder = tmp_path / "large"
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(photo(600, 700 + 50 * number)).save(folder / label / f"{number}.png")
    data = opened(folder, tmp_path)
    assert isinstance(data.x, MixedImages)
    assert data.x.sizes.min(1).tolist() == [512] * 10
    assert any("scaled down to a shorter side of 512" in note for note in data.info.warnings)


def test_pairs_of_domains_keep_sizes_too(archive: Path, tmp_path: Path) -> None:
    square = tmp_path / "square"
    for label in "ab":
        (square / label).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(photo(32, 32, number)[..., 0]).save(square / label / f"{number}.png")
    store = Artifacts(tmp_path / "store")
    sides = {"name": "folder", "path": str(archive)}, {"name": "folder", "path": str(square)}
    for source, target in (sides, sides[::-1]):
        data = catalog.open_dataset("pair", {"source": source, "target": target}, store)
        check_dataset(data, is_pair=True)
        if target is sides[0]:
            assert isinstance(data.x, MixedImages)
            assert (len(data.x), data.x.channels) == (36, 3)
        else:
            assert data.info.shape == (1, 32, 32)
