"""torchvision's datasets, read from small files in their real formats, and downloaded from a server of our own."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset
from tlbench.data.mixed_images import MixedImages
from tlbench.data.torchvision_classes import dataset_classes
from tlbench.store.artifacts import Artifacts

datasets = pytest.importorskip("torchvision.datasets")
CLOSED = "http://127.0.0.1:9/"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def opened(tmp_path: Path, name: str, **params: Any) -> Dataset:
    return open_dataset(name, {"root": str(tmp_path / "root"), **params}, Artifacts(tmp_path / "artifacts"))


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


def write_mnist(folder: Path, prefix: str = "{part}") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    made = {}
    for part, size in (("train", 40), ("t10k" if prefix == "{part}" else "test", 20)):
        images = np.random.default_rng(size).integers(0, 256, (size, 28, 28)).astype(np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        write_idx(folder / f"{prefix.format(part=part)}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix.format(part=part)}-labels-idx1-ubyte", labels)
        made[part] = images, labels
    return made


def write_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32)).astype(np.uint8)
    for place, (file, _) in enumerate([*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list]):
        rows = slice(10 * place, 10 * place + 10)
        (folder / file).write_bytes(pickle.dumps({"data": images[rows].reshape(10, -1), "labels": list(range(10))}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing{n}" for n in range(10)]}))
    meta = datasets.CIFAR10.meta | {"md5": md5(folder / "batches.meta")}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    for name in ("train_list", "test_list"):
        listed = [[file, md5(folder / file)] for file, _ in getattr(datasets.CIFAR10, name)]
        monkeypatch.setattr(datasets.CIFAR10, name, listed)
    return images


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Serve a folder on this machine; gives (address, folder, paths asked for)."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/", folder, asked
    running.shutdown()
    thread.join()
    running.server_close()


def test_mnist_from_idx_files_in_any_case_of_its_name(tmp_path: Path) -> None:
    made = write_mnist(tmp_path / "root" / "MNIST" / "raw")
    dataset = opened(tmp_path, "mnist")
    assert dataset.info.name == "MNIST"
    assert dataset.info.shape == (1, 28, 28)
    assert dataset.info.classes == tuple("0123456789"), "as other sets of digits say"
    for part, name in ((TRAIN, "train"), (TEST, "t10k")):
        rows = dataset.rows(part)
        assert np.array_equal(dataset.x[rows, 0], made[name][0])
        assert np.array_equal(dataset.y[rows], made[name][1])
    assert opened(tmp_path, "MNIST").info.fingerprint == dataset.info.fingerprint
    sides = {"source": {"name": "MNIST", "root": str(tmp_path / "root")}, "target": "digits"}
    pair = open_dataset("pair", sides, Artifacts(tmp_path / "artifacts"))
    assert np.array_equal(pair.y[: len(dataset.y)], dataset.y)
    larger = {**sides, "target": {**sides["source"], "image_size": 32}}
    with pytest.raises(UserError, match="source and target share examples"):
        open_dataset("pair", larger, Artifacts(tmp_path / "artifacts"))


def test_emnist_takes_its_own_option_and_drops_empty_classes(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "EMNIST" / "raw"
    write_mnist(folder, "emnist-letters-{part}")
    for part, size in (("train", 40), ("test", 20)):
        write_idx(folder / f"emnist-letters-{part}-labels-idx1-ubyte", (1 + np.arange(size) % 10).astype(np.uint8))
    dataset = opened(tmp_path, "EMNIST", options={"split": "letters"})
    assert dataset.info.name == "EMNIST(split=letters)"
    assert dataset.info.classes == tuple("abcdefghij")
    assert dataset.info.counts == {"train": (4,) * 10, "test": (2,) * 10}
    with pytest.raises(UserError, match=r"EMNIST: cannot be read .*'split'"):
        opened(tmp_path, "EMNIST")


def test_cifar_from_its_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar(tmp_path / "root" / datasets.CIFAR10.base_folder, monkeypatch)
    dataset = opened(tmp_path, "cifar10")
    assert np.array_equal(dataset.x, images)
    assert dataset.info.classes[:2] == ("thing0", "thing1")
    assert dataset.info.counts == {"train": (5,) * 10, "test": (1,) * 10}
    larger = opened(tmp_path, "CIFAR10", image_size=48)
    assert larger.info.shape == (3, 48, 48)
    assert larger.info.name == "CIFAR10(image_size=48)"


def test_a_download_is_fetched_once_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path, list[str]]
) -> None:
    address, served, asked = server
    images = write_cifar(tmp_path / "made" / datasets.CIFAR10.base_folder, monkeypatch)
    with tarfile.open(served / "cifar.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made" / datasets.CIFAR10.base_folder, datasets.CIFAR10.base_folder)
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}cifar.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(served / "cifar.tar.gz"))
    assert np.array_equal(opened(tmp_path, "CIFAR10").x, images)
    fetched = len(asked)
    assert fetched > 0
    opened(tmp_path, "CIFAR10", image_size=16)
    assert len(asked) == fetched, "downloaded twice"


def test_a_wrong_checksum_is_a_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path, list[str]]
) -> None:
    address, served, _ = server
    (served / "cifar.tar.gz").write_bytes(b"not what was asked for")
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}cifar.tar.gz")
    with pytest.raises(UserError, match=r"CIFAR10: cannot be had: File not found or corrupted"):
        opened(tmp_path, "CIFAR10")


def test_without_a_network_the_user_learns_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{CLOSED}cifar.tar.gz")
    with pytest.raises(UserError, match="CIFAR10: cannot be had") as caught:
        opened(tmp_path, "CIFAR10")
    assert str(tmp_path / "root") in caught.value.hint
    with pytest.raises(UserError, match=r"ImageNet: cannot be had: .*archive"):
        opened(tmp_path, "ImageNet")


def test_the_default_root_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "shelf" / "MNIST" / "raw")
    monkeypatch.setenv("TLBENCH_DATA", str(tmp_path / "shelf"))
    assert len(open_dataset("MNIST", {}, Artifacts(tmp_path / "artifacts")).y) == 60


def test_textures_with_three_splits_and_unequal_sizes(tmp_path: Path) -> None:
    base = tmp_path / "root" / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for place, part in enumerate(("train", "val", "test")):
        lines = []
        for name in ("banded", "woven"):
            for number in range(2):
                file = base / "images" / name / f"{name}_{place}{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                size = (30 + 4 * place, 40)
                Image.new("RGB", size, (80 * place, 100, 20)).save(file)
                lines.append(f"{name}/{file.name}")
        (base / "labels" / f"{part}1.txt").write_text("\n".join(lines))
    own = opened(tmp_path, "DTD")
    assert isinstance(own.x, MixedImages)
    assert {image.shape for image in own.x} == {(3, 40, 30), (3, 40, 34), (3, 40, 38)}
    assert abs(own.x[-1][0].astype(int) - 160).max() < 6
    assert any("differ in size, from 30x40 to 38x40" in note for note in own.info.warnings)
    with pytest.raises(UserError, match="30x40, 34x40") as caught:
        opened(tmp_path, "DTD", rotations=True)
    assert "image_size" in caught.value.hint
    dataset = opened(tmp_path, "DTD", image_size=16)
    assert dataset.info.counts == {"train": (2, 2), "val": (2, 2), "test": (2, 2)}
    assert dataset.info.classes == ("banded", "woven")
    for place, part in enumerate((TRAIN, VAL, TEST)):
        assert abs(dataset.x[dataset.rows(part), 0].astype(int) - 80 * place).max() < 6


def test_omniglots_alphabets_split_the_classes_in_any_listing_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root" / "omniglot-py"
    sums = {}
    for part, count in (("images_background", 6), ("images_evaluation", 3)):
        for character in range(count):
            folder = root / part / f"Script_{part[7:9]}" / f"character{character:02}"
            folder.mkdir(parents=True)
            for drawer in range(4):
                Image.new("1", (9, 9), (character + drawer) % 2).save(folder / f"{drawer}.png")
        with zipfile.ZipFile(root / f"{part}.zip", "w"):
            pass
        sums[part] = md5(root / f"{part}.zip")
    monkeypatch.setattr(datasets.Omniglot, "zips_md5", sums)
    info = opened(tmp_path, "Omniglot").info
    splits = {part: {info.classes[label][:9] for label in labels} for part, labels in info.class_splits.items()}
    assert splits == {"train": {"Script_ba"}, "val": {"Script_ba"}, "test": {"Script_ev"}}
    assert [len(info.class_splits[part]) for part in ("train", "val", "test")] == [5, 1, 3]
    assert "split of the classes" in info.warnings[0]
    listed = {name: getattr(datasets.omniglot, name) for name in ("list_dir", "list_files")}
    for name, original in listed.items():
        monkeypatch.setattr(datasets.omniglot, name, lambda *a, original=original, **k: original(*a, **k)[::-1])
    shutil.rmtree(tmp_path / "artifacts")
    assert opened(tmp_path, "Omniglot").info.fingerprint == info.fingerprint
    plain, turned = opened(tmp_path, "Omniglot"), opened(tmp_path, "Omniglot", rotations=True, invert=True)
    for turn in range(4):
        assert np.array_equal(turned.x[turn * len(plain.x) :][: len(plain.x)], 255 - np.rot90(plain.x, turn, (2, 3)))
    assert {part: {label % 9 for label in labels} for part, labels in turned.info.class_splits.items()} == {
        part: set(labels) for part, labels in info.class_splits.items()
    }
    assert len(turned.info.classes) == 36


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    base = tmp_path / "root" / "eurosat" / "2750"
    for name in ("Forest", "River"):
        (base / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8)).save(base / name / f"{name}_{number}.png")
    assert opened(tmp_path, "EuroSAT").info.counts == {"train": (2, 2), "test": (1, 1)}
    (base / "River" / "River_1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(UserError, match="EuroSAT: image 4 cannot be read"):
        opened(tmp_path, "EuroSAT")


def test_the_signatures_read_from_source_are_those_of_the_classes() -> None:
    import inspect

    for name, found in dataset_classes().items():
        made = getattr(datasets, name)
        lineage = [inspect.signature(base.__init__).parameters for base in made.__mro__ if "__init__" in vars(base)]
        known = {argument for parameters in lineage for argument in parameters}
        assert {"root", *([found.argument] if found.argument else []), *found.options} <= known, name
        assert found.downloads <= ("download" in known), name
    assert dataset_classes()["OxfordIIITPet"].splits == {"train": "trainval", "test": "test"}
    assert dataset_classes()["Country211"].splits == {"train": "train", "val": "valid", "test": "test"}
    assert dataset_classes()["SVHN"].splits == {"train": "train", "test": "test"}
    assert dataset_classes()["EuroSAT"].splits == {}
    assert not {"CocoCaptions", "Kitti", "VOCDetection", "Sintel", "Kinetics", "CelebA"} & set(dataset_classes())
