"""Times the planning of 100,000 cells against 100,000 known results; prints seconds and peak memory.

python tests/benchmarks/plan_scale.py [--json]
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from tlbench.core.cell import DatasetChoice
from tlbench.core.config import MethodConfig, Settings
from tlbench.core.cost import Timing, Timings
from tlbench.core.hashing import digest
from tlbench.core.info import BackboneInfo, DatasetInfo, TaskInfo
from tlbench.core.record import ResultInfo
from tlbench.plugins.registry import Declaration, Kind, MethodConstants, ProtocolConstants
from tlbench.suite.catalog import Catalog
from tlbench.suite.expand import expand
from tlbench.suite.load import loads
from tlbench.suite.resolve import choose_backbone


class Config(MethodConfig):
    """As many parameters as a large method has."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = 1e-4
    epochs: int = 100
    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.1
    schedule: str = "cosine"
    targets: tuple[str, ...] = ("conv", "linear")


def _skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    return "as a method would" if info.shots == 7 and cfg.rank > 100 else None


def _declare(kind: Kind, name: str) -> Declaration[Any]:
    protocols, skip = (("classification",), _skip) if kind == "methods" else ((), None)
    constants = MethodConstants(PROTOCOLS=protocols) if kind == "methods" else ProtocolConstants(VERSION=1)
    facts = (protocols, ("image",), ("fit",), constants, Config if kind == "methods" else Settings, skip)
    return Declaration(name, name, Path(name), "", "", *facts, lambda: digest(name))


def _describe(name: str, params: dict[str, object], weights: dict[str, object]) -> BackboneInfo:
    return BackboneInfo(name, "fake", "image", name, {"name": name, "weights": weights, **params})


def main() -> None:
    """Plan twice, measure once: the whole way from text to progress and cost."""
    methods = tuple(f"method{k}" for k in range(20))
    backbones, datasets = tuple(f"net{k}" for k in range(10)), tuple(f"data{k}" for k in range(10))
    catalog = Catalog(
        datasets, backbones, lambda name, params: params, _describe, methods, ("classification",), _declare
    )
    opened = {
        name: DatasetChoice(name, {}, DatasetInfo(name, "image", digest(name), tuple("ab"), (1, 8, 8), {}))
        for name in datasets
    }
    text = (
        "name: scale\ngrids:\n- protocol: classification\n"
        f"  methods: [{', '.join(methods)}]\n  backbones: [{', '.join(backbones)}]\n"
        f"  datasets: [{', '.join(datasets)}]\n  shots: [1, 2, 5, 10, full]\n  seeds: 10\n"
    )
    known: dict[str, ResultInfo] = {}
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        suite = loads(text, catalog)
        choices = {key: opened[spec.name] for key, spec in suite.datasets.items()}
        nets = {key: choose_backbone(spec, choices, catalog) for key, spec in suite.backbones.items()}
        plan = expand(suite, catalog, choices, nets)
        progress = plan.status(known)
        timings = Timings(
            Timing(c.method.name, c.backbone.info.label, c.dataset.info.name, "classification", c.shots, 1.0)
            for c in progress.done
        )
        total = timings.total(plan.cells, suite.resources)
        seconds = time.perf_counter() - start
        known = {cell.id: ResultInfo("done", digest(cell.method.name), "") for cell in plan.cells}
    assert len(progress.done) == total.cells == len(plan.cells)
    figures = {
        "cells": len(plan.cells),
        "seconds": round(seconds, 2),
        "peak_mb": _peak_mb(),
        "torch": "torch" in sys.modules,
    }
    print(
        json.dumps(figures) if "--json" in sys.argv else "  ".join(f"{key} {value}" for key, value in figures.items())
    )


def _peak_mb() -> int:
    """Return the peak resident memory; ``ru_maxrss`` would count what the parent held before this process began."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) // 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
