"""The contract of dataset sources, as checks that an author runs over a name.

def test_it_is_declared() -> None:
    check_declaration("birds")

def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_source("birds", {"path": str(folder_of_ten_images)}, tmp_path)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.hashing import canonical
from tlbench.core.validation import check
from tlbench.data.catalog import names, open_dataset, paired, summaries, validate
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, VAL, Dataset
from tlbench.data.mixed_images import MixedImages
from tlbench.data.source import HashedSource, Source
from tlbench.data.source_files import load_source
from tlbench.store.artifacts import Artifacts

HEAVY = ("torch", "torchvision", "sklearn", "scipy", "matplotlib", "PIL", "pandas")
"""Libraries that listing sources and checking their parameters must not import."""

_OPENED_ELSEWHERE = """
import json, sys
from pathlib import Path
from tlbench.data.catalog import open_dataset
from tlbench.store.artifacts import Artifacts
name, params, folder = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
print(open_dataset(name, params, Artifacts(folder)).info.fingerprint)
"""
_LISTED_ELSEWHERE = """
import sys
from tlbench.data.catalog import joined, names, paired, summaries
from tlbench.data.source_files import load_source
summaries(), joined(), paired()
for name in names():
    load_source(name)
print(*(heavy for heavy in sys.argv[1:] if heavy in sys.modules))
"""


def check_lightness() -> None:
    """Check that listing all sources and importing their files, in a new process, imports nothing heavy."""
    assert not _run(_LISTED_ELSEWHERE, *HEAVY), "import heavy libraries inside the functions that need them"


def check_declaration(name: str) -> None:
    """Check what a source says of itself: a summary, described parameters, and refusal of unknown ones.

    Args:
        name: The dataset.
    """
    assert name in names()
    assert summaries()[name].strip(), "the docstring opens with a line about the dataset"
    source = load_source(name)
    for parameter, field in source.params.model_fields.items():
        joins = parameter in source.constants.JOINS
        assert joins or field.description, f"the parameter {parameter} has a description"
    _, problems = check(source.params, {"no_such_parameter": 1})
    assert any("no_such_parameter" in problem.what for problem in problems), "an unknown parameter is accepted"


def check_source(name: str, params: Mapping[str, Any], folder: Path) -> Dataset:
    """Check that a dataset is what its facts say, and the same whenever and wherever it is opened.

    Args:
        name: The dataset.
        params: Parameters that open a small one, without a network.
        folder: A folder of its own, for decoded data.

    Returns:
        The dataset, for further checks.
    """
    values = validate(name, dict(params), Path.cwd())
    assert validate(name, values) == values, "parameters with their defaults filled in are valid and stay the same"
    source = load_source(name)
    if isinstance(source.code, Source) and not source.constants.JOINS:
        settings = source.params(**values)
        first, second = (canonical(source.code.signature(settings)) for _ in range(2))
        assert first == second, "the signature stays the same while the data do"
        if isinstance(source.code, HashedSource):
            assert canonical(source.code.content(settings)) == canonical(source.code.content(settings)), (
                "content differs"
            )
    dataset = open_dataset(name, values, Artifacts(folder / "first"))
    kept = {path: path.stat().st_mtime_ns for path in (folder / "first").rglob("*.npy")}
    open_dataset(name, values, Artifacts(folder / "first"))
    assert {path: path.stat().st_mtime_ns for path in (folder / "first").rglob("*.npy")} == kept, "decoded twice"
    elsewhere = _run(_OPENED_ELSEWHERE, name, canonical(values), str(folder / "second"))
    assert elsewhere == dataset.info.fingerprint, "another process decodes the same data into something else"
    check_dataset(dataset, is_pair=name in paired())
    return dataset


def check_dataset(dataset: Dataset, *, is_pair: bool = False) -> None:
    """Check that the arrays of an opened dataset fit together and agree with its facts.

    Args:
        dataset: The dataset.
        is_pair: Whether it has a source domain and a target domain.
    """
    info, count = dataset.info, len(dataset.y)
    assert count == len(dataset.x) == len(dataset.part) == len(dataset.domain)
    assert len(set(info.classes)) == len(info.classes) > 0, "classes have different names"
    assert _within(dataset.y, len(info.classes)), "labels are positions among the classes"
    assert set(np.unique(dataset.part)) <= {TRAIN, VAL, TEST} | ({SOURCE, SOURCE_VAL} if is_pair else set())
    assert len(dataset.rows(TRAIN)), "there are training examples"
    assert len(dataset.rows(TEST)), "there are test examples"
    assert _within(dataset.domain, max(1, len(info.domains))), "domains are positions among their names"
    assert dataset.group is None or len(dataset.group) == count
    assert info.origin, "the origin is known, by which labels that two datasets share are found"
    if isinstance(dataset.x, MixedImages):
        assert info.shape == (dataset.x.channels, 0, 0)
        assert info.usual_side == dataset.x.usual_side
        assert len({tuple(size) for size in dataset.x.sizes.tolist()}) > 1, "images of one size are an array"
    elif info.modality == "image":
        assert isinstance(dataset.x, np.ndarray)
        assert dataset.x.dtype == np.uint8
        assert dataset.x.shape == (count, *info.shape)
        assert info.shape[0] in (1, 3), "images are grey or have three colours"
    else:
        assert all(isinstance(text, str) for text in dataset.x)
    for part, number in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        rows = dataset.rows(number)
        counts = np.bincount(dataset.y[rows], minlength=len(info.classes)).tolist()
        assert info.counts.get(part, (0,) * len(info.classes)) == tuple(counts)
    parts = [label for labels in info.class_splits.values() for label in labels]
    assert len(parts) == len(set(parts)), "no class is in two parts of the split of the classes"
    assert not is_pair or (info.target and len(dataset.rows(SOURCE)) and len(dataset.rows(SOURCE_VAL)))


def _within(values: NDArray[np.int64], stop: int) -> bool:
    return bool(((values >= 0) & (values < stop)).all())


def _run(code: str, *arguments: str) -> str:
    """Run code in a new process with the same import path and another order of sets; return what it prints."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
