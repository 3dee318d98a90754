"""What a user's data are, as far as the first suite depends on it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError, nearest
from tlbench.core.info import DatasetInfo
from tlbench.data import catalog
from tlbench.data.dataset import TEST, TRAIN, Dataset
from tlbench.data.text_columns import USUAL_NAMES
from tlbench.store.artifacts import Artifacts

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LENGTHS = 500  # texts whose lengths are looked at


@dataclass(frozen=True)
class DataFacts:
    """Facts of a dataset.

    Attributes:
        source: Name of the dataset source.
        params: Its parameters, as a suite gives them, with an absolute path.
        info: What it holds.
        copied: Test examples that have an equal training example.
        words: Words of a long text (the 90th percentile); 0 for images.
    """

    source: str
    params: dict[str, Any]
    info: DatasetInfo
    copied: int
    words: int

    def examples(self, part: str) -> int:
        """Return the number of examples of an example split."""
        return sum(self.info.counts.get(part, ()))

    @property
    def fewest(self) -> int:
        """Training examples of the rarest class."""
        return min(self.info.counts["train"])

    @property
    def imbalance(self) -> float:
        """Training examples of the most frequent class over those of the rarest."""
        return max(self.info.counts["train"]) / max(1, self.fewest)


def look(path: Path, artifacts: Artifacts, columns: dict[str, str]) -> DataFacts:
    """Open a folder, a zip or a table and return what it is.

    Args:
        path: Where the data are.
        artifacts: Where decoded data are kept.
        columns: ``text_column`` and ``label_column`` of a table, as far as the user names them.

    Raises:
        UserError: There is no such path, it is of no kind that is read, or its data are wrong.
    """
    if not path.exists():
        beside = [each.name for each in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"{path}: there is no such folder or file", nearest(path.name, beside) if beside else "")
    table = path.suffix.lower() in TABLES and path.is_file()
    if not table and path.is_file() and path.suffix.lower() != ".zip":
        raise UserError(f"{path}: no kind of data that is read", f"a folder, a .zip, or one of {', '.join(TABLES)}")
    if not table and columns:
        raise UserError(f"{path}: images have no columns", "leave --text-column and --label-column out")
    params = {"path": str(path.absolute())} | (_usual_columns(path) | columns if table else {})
    source = "texts" if table else "folder"
    dataset = catalog.open_dataset(source, params, artifacts)
    if len(dataset.info.classes) < 2:
        raise UserError(f"{path}: {len(dataset.info.classes)} class to tell apart", "a suite needs two or more")
    return DataFacts(source, params, dataset.info, _copied(dataset), _words(dataset))


def _usual_columns(path: Path) -> dict[str, str]:
    """Return the columns that hold texts and labels where they are called as others often call them."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])
    except (UnicodeDecodeError, csv.Error):
        return {}  # the source says what is wrong
    spelt = {name.strip().lower(): name.strip() for name in header}
    found = {}
    for name, others in USUAL_NAMES.items():
        usual = next((spelt[other] for other in others if other in spelt), None)
        if name not in spelt and usual is not None:
            found[f"{name}_column"] = usual
    return found


def _copied(dataset: Dataset) -> int:
    known = set(_hashes(dataset.x, dataset.rows(TRAIN)))
    return sum(each in known for each in _hashes(dataset.x, dataset.rows(TEST)))


def _hashes(x: Sequence[Any] | NDArray[Any], rows: NDArray[np.int64]) -> list[bytes]:
    inputs = (x[row] for row in rows.tolist())
    contents = (each.encode() if isinstance(each, str) else np.ascontiguousarray(each).tobytes() for each in inputs)
    return [hashlib.sha256(content).digest() for content in contents]


def _words(dataset: Dataset) -> int:
    if dataset.info.modality != "text":
        return 0
    rows = np.linspace(0, len(dataset.y) - 1, min(_LENGTHS, len(dataset.y))).astype(int)
    return max(1, int(np.quantile([len(str(dataset.x[row]).split()) for row in rows.tolist()], 0.9)))
