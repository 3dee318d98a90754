"""What rates and policies of batch normalisation suit published weights: a study on development tasks.

    uv run --extra timm python tests/benchmarks/defaults.py PACS.zip RESULTS.jsonl [--shots 5 20] [--seeds 2]

The tasks are the cartoons and the sketches of PACS, at most 120 images of each class, 50 of them for testing; no
shipped suite of ``classification`` reads these two domains. The network is EfficientNet-Lite0 with its ImageNet weights
at 64 pixels. Every configuration is trained by the product's own cells, one after another on one thread; a line is
appended to the results for each, so that a study that is stopped goes on. At the end, the table: test accuracy in % as
a mean over tasks and seeds, and the difference to the linear probe on the same draws.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from tlbench.planning.prepare import prepare
from tlbench.store.workspace import Workspace
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

DOMAINS = ("cartoon", "sketch")
NETWORK = {"name": "timm:tf_efficientnet_lite0", "weights": "timm", "image_size": 64}
IMAGES, TESTED = 120, 50  # of each class

PROBE = "linear_probe"
RATES = {
    "finetune": (3e-5, 1e-4, 3e-4, 1e-3),
    "lp_ft": (3e-5, 1e-4, 3e-4),
    "discriminative_lr": (1e-4, 3e-4, 1e-3),
    "lora": (3e-4, 1e-3, 3e-3),
    "adapter": (3e-4, 1e-3, 3e-3),
    "bitfit": (1e-3, 3e-3, 1e-2),
    "ssf": (3e-4, 1e-3, 3e-3),
    "linear_head": (3e-3, 1e-2, 3e-2),
}
MOVING = (1e-4, 1e-3)  # rates of fine-tuning with running statistics that move


def configurations() -> Iterator[dict[str, Any]]:
    """Yield the methods of the suite: the probe, every rate, and fine-tuning with moving statistics."""
    yield {"name": PROBE}
    for name, rates in RATES.items():
        yield from ({"name": name, "params": {"lr": rate}} for rate in rates)
    yield from ({"name": "finetune", "params": {"lr": rate, "batch_norm": "train"}} for rate in MOVING)


def unpack(archive: Path, folder: Path) -> None:
    """Write a fixed sample of the images of both domains as split folders of class folders."""
    with ZipFile(archive) as pacs:
        for domain in DOMAINS:
            if (folder / domain).exists():
                continue
            members = defaultdict(list)
            for name in sorted(pacs.namelist()):
                parts = name.split("/")
                if domain in parts and name.lower().endswith((".jpg", ".png")):
                    members[parts[-2]].append(name)
            generator = np.random.default_rng(0)
            for label, names in members.items():
                for place, row in enumerate(generator.permutation(len(names))[:IMAGES]):
                    split = "test" if place < TESTED else "train"
                    file = folder / domain / split / label / f"{place:03}.jpg"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(pacs.read(names[row]))


def suite(folder: Path, shots: list[int], seeds: int) -> Path:
    """Write the suite of the study."""
    grid = {
        "protocol": "classification",
        "methods": list(configurations()),
        "backbones": [NETWORK],
        "datasets": [{"name": "folder", "path": str(folder / domain), "layout": "classes"} for domain in DOMAINS],
        "shots": shots,
        "seeds": seeds,
    }
    path = folder / "defaults.yaml"
    path.write_text(json.dumps({"name": "defaults", "baseline": PROBE, "grids": [grid]}))
    return path


def run(path: Path, results: Path, workspace: Workspace) -> None:
    """Run the cells that have no line yet."""
    done = {line["id"] for line in lines(results)}
    cache = WorkerCache(workspace.artifacts, torch.device("cpu"))
    for cell in prepare(path, workspace.artifacts).plan.cells:
        if cell.id in done:
            continue
        record = run_cell(cell, cache)
        line = {
            "id": cell.id,
            "method": cell.method.label,
            "dataset": cell.dataset.info.name,
            "shots": cell.shots,
            "seed": cell.seed,
            "accuracy": None if record.outcome is None else 100 * record.outcome.scores["accuracy"],
            "seconds": None if record.cost is None else record.cost.seconds,
            "error": record.error,
        }
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line["method"], line["dataset"], line["shots"], line["seed"], line["accuracy"], flush=True)


def lines(results: Path) -> list[dict[str, Any]]:
    """Return the lines written so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(results: Path) -> None:
    """Print the means over tasks and seeds."""
    found = {(e["method"], e["dataset"], e["shots"], e["seed"]): e["accuracy"] for e in lines(results)}
    methods = list(dict.fromkeys(method for method, *_ in found))
    for shots in sorted({key[2] for key in found}):
        print(f"\n{shots} labels of each class: accuracy, difference to the probe, trainings")
        for method in methods:
            keys = [key for key in found if key[0] == method and key[2] == shots and found[key] is not None]
            pairs = [(found[key], found[PROBE, *key[1:]]) for key in keys if found.get((PROBE, *key[1:])) is not None]
            if pairs:
                own, probe = np.mean(pairs, axis=0)
                print(f"  {own:5.1f} {own - probe:+6.1f} {len(pairs):3d}  {method}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = asked.results.parent / "defaults"
    folder.mkdir(parents=True, exist_ok=True)
    unpack(asked.archive, folder)
    run(suite(folder, asked.shots, asked.seeds), asked.results, Workspace.at(folder / "workspace"))
    table(asked.results)


if __name__ == "__main__":
    main()
