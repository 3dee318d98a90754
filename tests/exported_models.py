"""Cells that run in the process of a test, and their models in folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from one_process import done, new_cache
from small_suites import PLAIN, planned, suite

from tlbench.core.cell import Cell
from tlbench.core.record import Record
from tlbench.data.dataset import TEST
from tlbench.export.export_cell import Exported, ExportOptions, export_cell
from tlbench.export.fit_again import hash_of_logits
from tlbench.inference.model import Model
from tlbench.plugins import registry
from tlbench.training.frozen_features import embed
from tlbench.worker.cache import WorkerCache

TEXT_NET = {"name": "text_tiny", "vocabulary": 512, "max_length": 16}
WORDS = {"pay": "card rent balance paid owe", "play": "game ball goal team win", "eat": "bread soup salt plate cook"}


def texts(folder: Path, name: str = "own.csv") -> Path:
    """Write a table of 60 short texts of three classes."""
    chance = np.random.default_rng(0)
    with (folder / name).open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["text", "label"])
        for row in range(60):
            label = list(WORDS)[row % 3]
            words = chance.choice(WORDS[label].split(), chance.integers(2, 9))
            table.writerow([" ".join(words), label])
    return folder / name


def one_cell(folder: Path, artifacts: Path, method: Any, **grid: Any) -> Cell:
    """A cell on digits, unless the grid says otherwise."""
    grid = {"methods": [method], "backbones": [PLAIN], "seeds": 1} | grid
    (cell,) = planned(suite("one", grid), folder, artifacts)
    return cell


def text_grid(folder: Path) -> dict[str, Any]:
    """What a grid says of texts."""
    return {"datasets": [{"name": "texts", "path": str(texts(folder))}], "backbones": [TEXT_NET]}


def exported(
    folder: Path, artifacts: Path, method: Any, to: str = "model", options: Any = None, **grid: Any
) -> tuple[Exported, Record, Cell, WorkerCache]:
    """Run a cell and export its model."""
    cell, cache = one_cell(folder, artifacts, method, **grid), new_cache(artifacts)
    record = done(cell, cache)
    return export_cell(cell, record, [], cache, folder / to, options or ExportOptions()), record, cell, cache


@torch.no_grad()
def hash_of_test_logits(model: Model, cell: Cell, cache: WorkerCache) -> str:
    """The hash of a model's test logits, in the batches in which a protocol computes them."""
    dataset = cache.read(cell.dataset, cell.backbone)
    rows, network = dataset.rows(TEST), model.network
    if registry.declaration("methods", cell.method.name).constants.FROZEN_BACKBONE:
        backbone, head = network.get_submodule("backbone"), network.get_submodule("head")
        z = embed(backbone, dataset.x, None, model.device)[torch.from_numpy(rows)]
        return hash_of_logits(head(z).float())
    return hash_of_logits(embed(network, dataset.x, rows, model.device))


def described(folder: Path) -> dict[str, Any]:
    """What a folder says of its model."""
    found: dict[str, Any] = json.loads((folder / "tlbench.json").read_text())
    return found
