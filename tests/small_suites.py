"""Suites that run in seconds, as data and as planned cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tlbench.core.cell import Cell
from tlbench.planning.prepare import prepare
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger

PLAIN = {"name": "conv4", "width": 8}
CORPUS = {"name": "rendered_digits", "images": 600}
PRETRAINED = {**PLAIN, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 2}}}
FINETUNE = {"name": "finetune", "params": {"epochs": 3}}


def suite(name: str = "small", grid: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A suite of one grid: three methods on digits, unless ``grid`` says otherwise."""
    usual = {
        "protocol": "classification",
        "methods": [FINETUNE, "nearest_centroid", "linear_probe"],
        "backbones": [PLAIN],
        "datasets": ["digits"],
        "shots": [5],
        "seeds": 2,
    }
    return {"name": name, "grids": [usual | (grid or {})], **more}


def planned(content: dict[str, Any], folder: Path, artifacts: Path) -> list[Cell]:
    """The cells of a suite; its data are opened."""
    path = folder / f"{content['name']}.yaml"
    path.write_text(json.dumps(content))
    return prepare(path, Artifacts(artifacts)).plan.cells


def digests(workspace: Path) -> dict[str, str]:
    """The digests of all results, by cell."""
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return {record.id: record.digest for record in ledger.records()}
