"""What rates a recipe may leave open: a study on development tasks, which no shipped suite of classification reads.

    uv run --all-extras python tests/benchmarks/defaults.py RESULTS.jsonl [--tasks photos texts own] [--seeds 2]

Every method is trained at its defaults, and with the learning rate that its default came to times 1/3 and 3;
fine-tuning of published images also with running statistics that move, and it and LoRA with each of the usual moves.
The tasks, which read public files below ``TLBENCH_DATA``:

* ``photos``: cartoons and sketches of PACS, by EfficientNet-Lite0 with its ImageNet weights at 64 pixels (a
  convolutional network with batch normalisation).
* ``texts``: the intents of two domains of CLINC150, by MiniLM (a transformer).
* ``own``: printed digits, by networks that the study pre-trains itself on printed characters: with batch normalisation
  (conv4), without (ConvNeXt), and a vision transformer.

Every configuration is trained by the product's own cells, one after another on one thread; a line is appended to the
results for each, so that a study that is stopped goes on. At the end, the table: for each task, budget and method the
test accuracy in % at its defaults, the difference to the linear probe on the same draws, and what a third and three
times the rate change.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from tlbench.planning.prepare import prepare
from tlbench.store.workspace import Workspace
from tlbench.training.recipe import RATES, Trained
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

PROBE = "linear_probe"
TRAINED: dict[str, Trained] = {
    "finetune": "network",
    "discriminative_lr": "network",
    "lp_ft": "network",
    "lora": "low_rank",
    "adapter": "adapters",
    "bitfit": "biases",
    "ssf": "scales",
    "linear_head": "head",
    "setfit": "embedding",
}
FACTORS = (1 / 3, 3.0)
AUGMENTS = ("none", "shift", "shift_flip", "crop_flip")  # of fine-tuning and LoRA


def _pacs(domain: str) -> dict[str, Any]:
    member = {"name": "folder", "path": "$TLBENCH_DATA/pacs/pacs160.zip", "domain": domain}
    return {"of": member, "per_class": {"train": 70, "test": 50}}


def _clinc(domain: str) -> dict[str, Any]:
    return {"of": {"name": "texts", "path": "$TLBENCH_DATA/clinc150/clinc150.csv", "domain": domain}}


def _learnt(name: str, **own: Any) -> dict[str, Any]:
    return {"name": name, "pretrain": {"method": "supervised", "dataset": "glyphs", **own}}


TASKS: dict[str, dict[str, Any]] = {
    "photos": {
        "backbones": [{"name": "timm:tf_efficientnet_lite0", "weights": "timm", "image_size": 64}],
        "datasets": [_pacs("cartoon"), _pacs("sketch")],
        "shots": [1, 5, 20],
    },
    "texts": {
        "backbones": [{"name": "hf:sentence-transformers/all-MiniLM-L6-v2", "weights": "hf"}],
        "datasets": [_clinc("banking"), _clinc("travel")],
        "shots": [1, 5, 20],
    },
    "own": {
        "backbones": [
            {**_learnt("conv4"), "width": 32},
            {**_learnt("timm:test_convnext", params={"epochs": 40, "lr": 0.002}), "image_size": 32, "channels": 1},
            {**_learnt("timm:test_vit", params={"epochs": 80, "lr": 0.002}), "image_size": 64, "channels": 1},
        ],
        "datasets": [{"name": "rendered_digits", "images": 2100}],
        "shots": [1, 5, 20],
    },
}


def configurations(task: str) -> Iterator[dict[str, Any]]:
    """Yield the methods of a task's suite."""
    yield {"name": PROBE}
    for name, trained in TRAINED.items():
        rates = RATES[trained]
        usual = rates.own if task == "own" else rates.published
        yield {"name": name}
        yield from ({"name": name, "params": {"lr": float(f"{usual * factor:.3g}")}} for factor in FACTORS)
    if task == "photos":
        yield {"name": "finetune", "params": {"batch_norm": "train"}}
        moves = [(name, augment) for name in ("finetune", "lora") for augment in AUGMENTS]
        yield from ({"name": name, "params": {"augment": augment}} for name, augment in moves)


def suite(task: str, folder: Path, seeds: int) -> Path:
    """Write the suite of a task."""
    grid = {"protocol": "classification", "methods": list(configurations(task)), **TASKS[task], "seeds": seeds}
    path = folder / f"defaults-{task}.yaml"
    path.write_text(json.dumps({"name": path.stem, "baseline": PROBE, "grids": [grid]}))
    return path


def run(path: Path, results: Path, workspace: Workspace) -> None:
    """Run the cells that have no line yet, seed by seed."""
    done = {line["id"] for line in lines(results)}
    cache = WorkerCache(workspace.artifacts, torch.device("cpu"))
    for cell in sorted(prepare(path, workspace.artifacts).plan.cells, key=lambda cell: cell.seed):
        if cell.id in done:
            continue
        record = run_cell(cell, cache)
        line = {
            "id": cell.id,
            "method": cell.method.name,
            "params": cell.method.label.removeprefix(cell.method.name),
            "backbone": cell.backbone.info.label,
            "dataset": cell.dataset.info.name,
            "shots": cell.shots,
            "seed": cell.seed,
            "accuracy": None if record.outcome is None else 100 * record.outcome.scores["accuracy"],
            "cpu_seconds": None if record.cost is None else record.cost.cpu_seconds,
            "error": record.error,
        }
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(*(line[key] for key in ("method", "params", "dataset", "shots", "seed", "accuracy")), flush=True)


def lines(results: Path) -> list[dict[str, Any]]:
    """Return the lines written so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(results: Path) -> None:
    """Print the means over datasets and seeds."""
    found: dict[tuple[str, int], dict[tuple[str, str], dict[tuple[str, int], float]]] = {}
    for line in lines(results):
        if line["accuracy"] is not None:
            methods = found.setdefault((line["backbone"], line["shots"]), {})
            methods.setdefault((line["method"], line["params"]), {})[line["dataset"], line["seed"]] = line["accuracy"]
    for (backbone, shots), methods in sorted(found.items()):
        print(f"\n{backbone}, {shots} labels of each class: default, minus the probe; minus the default; draws")
        for (name, params), scores in methods.items():
            other = methods.get((name, ""), {}) if params else methods.get((PROBE, ""), {})
            both = [draw for draw in scores if draw in other]
            if both:
                own, less = (float(np.mean([side[draw] for draw in both])) for side in (scores, other))
                print(f"  {own:5.1f} {own - less:+6.1f} {len(both):3d}  {'  ' if params else ''}{name}{params}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--tasks", choices=list(TASKS), nargs="+", default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = asked.results.absolute().parent / "defaults"
    folder.mkdir(parents=True, exist_ok=True)
    for task in asked.tasks:
        run(suite(task, folder, asked.seeds), asked.results, Workspace.at(folder / "workspace"))
    table(asked.results)


if __name__ == "__main__":
    main()
