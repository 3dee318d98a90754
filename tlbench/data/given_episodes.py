"""Opens a file of episodes for a dataset: its examples are looked up once, and the rows are kept as an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tlbench.core.class_splits import deal_classes
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest
from tlbench.data.catalog import example_names, open_dataset
from tlbench.data.dataset import Dataset
from tlbench.data.episode_file import EpisodeTable, GivenEpisode, find_rows, read_episodes
from tlbench.store.artifacts import Artifacts

_KIND, _VERSION = "episodes", 1
_PARTS = GivenEpisode._fields


def resolve_episodes(table: EpisodeTable, name: str, params: dict[str, object], artifacts: Artifacts) -> None:
    """Look up the examples of a file of episodes in a dataset, and keep their rows.

    Args:
        table: The file.
        name: The source of the dataset.
        params: Its parameters.
        artifacts: Where rows are kept.

    Raises:
        UserError: The dataset lacks an example, or methods may train on it; with the line in the file.
    """
    dataset = open_dataset(name, params, artifacts)
    test = np.zeros(len(dataset.y), bool)
    test[dataset.rows_of_classes(deal_classes(dataset.info)["test"])] = True
    found = find_rows(table, _rows(dataset, name, params), test, dataset.info.name)

    def build(folder: Path) -> None:
        for part in _PARTS:
            np.save(folder / f"{part}.npy", np.concatenate([getattr(each, part) for each in found]))
        np.save(folder / "sizes.npy", np.array([[len(each.support), len(each.query)] for each in found]))

    artifacts.get(_KIND, _key(table.sha256, dataset.info.fingerprint), build)


def given_episodes(
    path: str, sha256: str, name: str, params: dict[str, object], fingerprint: str, artifacts: Artifacts
) -> tuple[GivenEpisode, ...]:
    """Return the episodes of a file by the rows of a dataset, looked up where this machine has not done so.

    Args:
        path: The file.
        sha256: Hash of the content that the run was planned with.
        name: The source of the dataset.
        params: Its parameters.
        fingerprint: Of the dataset.
        artifacts: Where rows are kept.

    Raises:
        UserError: The file has another content here.
    """
    if not artifacts.has(_KIND, _key(sha256, fingerprint)):
        table = read_episodes(Path(path))
        if table.sha256 != sha256:
            raise UserError(
                f"{path}: its content here is not the content this run was planned with",
                "it changed meanwhile, or this node has another file of that name; run the suite again",
            )
        resolve_episodes(table, name, params, artifacts)
    folder = artifacts.path(_KIND, _key(sha256, fingerprint))
    ends = np.cumsum(np.load(folder / "sizes.npy"), axis=0)[:-1]
    columns = [np.split(np.load(folder / f"{part}.npy"), ends[:, int(part in ("query", "truth"))]) for part in _PARTS]
    return tuple(GivenEpisode(*each) for each in zip(*columns, strict=True))


def _key(sha256: str, fingerprint: str) -> str:
    return digest([_VERSION, sha256, fingerprint], length=32)


def _rows(dataset: Dataset, name: str, params: dict[str, object]) -> Mapping[str, int]:
    """Return the row of each example by its name; of texts that stand in the data several times, the first.

    A text that methods may train on is preferred, so that it is refused.
    """
    names = example_names(name, params)
    if names is None and dataset.info.modality == "text":
        names = [str(dataset.x[row]) for row in range(len(dataset.y))]
    if names is None:
        names = [str(row) for row in range(len(dataset.y))]
    rows: dict[str, int] = {}
    test = set(deal_classes(dataset.info)["test"])
    for row, each in enumerate(names):
        if each not in rows or (int(dataset.y[rows[each]]) in test and int(dataset.y[row]) not in test):
            rows[each] = row
    return rows
