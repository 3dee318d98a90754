"""The catalog: names without torch, parameters checked without opening, paths from the suite's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlbench.core.errors import UserError
from tlbench.data import catalog
from tlbench.data.decoded import Decoded, fingerprint
from tlbench.store.artifacts import Artifacts

LIGHT = """
import sys
from tlbench.data import catalog
assert {"digits", "folder", "CIFAR10", "EMNIST"} <= set(catalog.names())
assert set(catalog.summaries()) == set(catalog.names())
assert all(catalog.summaries().values())
catalog.validate("CIFAR10", {"image_size": 32})
heavy = {"torch", "torchvision", "sklearn", "matplotlib", "PIL", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_listing_and_checking_load_nothing_heavy() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True, env={})


def test_validation_fills_in_defaults() -> None:
    assert catalog.validate("glyphs", {}) == {"variants": 2, "scripts": None}
    assert catalog.validate("folder", {"path": "x"}) == {
        "path": "x",
        "layout": "auto",
        "image_size": None,
        "invert": False,
        "rotations": False,
        "test_groups": None,
        "val_groups": None,
    }


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("digit", {}, "unknown dataset 'digit'\n  did you mean 'digits'?"),
        ("cifar11", {}, "unknown dataset 'cifar11'\n  did you mean 'CIFAR10'?"),
        ("glyphs", {"varients": 3}, "dataset glyphs: unknown key 'varients'\n  did you mean 'variants'?"),
        ("glyphs", {"variants": "3"}, "dataset glyphs: variants: must be a whole number, not '3'"),
        ("folder", {"path": "x", "layout": "domain"}, "did you mean 'domains'?"),
        ("folder", {}, "dataset folder: 'path' is missing"),
        ("EMNIST", {"options": {"splitt": "letters"}}, "unknown option 'splitt'\n  did you mean 'split'?"),
        ("MNIST", {"options": {"split": "letters"}}, "MNIST takes no options"),
    ],
)
def test_mistakes_are_named_before_anything_is_opened(name: str, params: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        catalog.validate(name, params)
    assert said in str(caught.value)


def test_relative_paths_start_from_the_suites_folder(tmp_path: Path) -> None:
    (tmp_path / "talk.csv").write_text("text,label\n" + "\n".join(f"t{n},{n % 2}" for n in range(6)) + "\n")
    dataset = catalog.open_dataset("texts", {"path": "talk.csv"}, Artifacts(tmp_path / "a"), base=tmp_path)
    assert len(dataset.y) == 6


def test_the_fingerprint_covers_everything_a_protocol_sees() -> None:
    x, y, part = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 0, 1, 1]), np.array([0, 2, 0, 2], np.uint8)
    plain = {"x": x, "y": y, "part": part, "classes": ("a", "b")}
    other = {
        "x": x + 1,
        "y": y[::-1].copy(),
        "part": part[::-1].copy(),
        "classes": ("a", "c"),
        "domain": np.array([0, 0, 0, 1]),
        "domains": ("d",),
        "class_splits": {"train": (0,), "test": (1,)},
    }
    found = [fingerprint(Decoded(**plain)), *(fingerprint(Decoded(**plain | {k: v})) for k, v in other.items())]
    assert len(set(found)) == len(found)
    assert fingerprint(Decoded(**plain, warnings=("beware",))) == found[0]
    assert fingerprint(Decoded(**plain | {"x": x.reshape(4, 1, 4, 1)})) != found[0]


def test_texts_that_differ_in_their_borders_differ() -> None:
    rest = {"y": np.zeros(2, np.int64), "part": np.zeros(2, np.uint8), "classes": ("a",)}
    assert fingerprint(Decoded(x=["ab", "c"], **rest)) != fingerprint(Decoded(x=["a", "bc"], **rest))


def test_damaged_decoded_data_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    catalog.open_dataset("digits", {}, artifacts)
    (stored,) = tmp_path.glob("datasets/*/x.npy")
    stored.write_bytes(stored.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged"):
        catalog.open_dataset("digits", {}, artifacts)
