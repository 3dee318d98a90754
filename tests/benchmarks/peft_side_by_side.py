"""Methods of few parameters at tlbench's defaults, and peft's with its documented settings, on the same labelled draws.

    uv run --all-extras python tests/benchmarks/peft_side_by_side.py RESULTS.jsonl [--tasks intents photos]
        [--intents banking travel] [--photos cartoon sketch] [--shots 10 20] [--seeds 5] [--methods lora ssf bitfit]

Each cell of tlbench is run as the product runs it. Then peft trains on the labelled examples that this cell drew, for
as many steps, in the same batches, with the same moves of images and the same reading of images and texts. All else,
from the network and its new head to the optimiser, the rates and their schedule, is of timm, transformers and peft, as
``peft_documented.py`` says. Batch normalisation keeps its running statistics on both sides, which favours peft, whose
examples name no network that has any. Texts are pooled by the mean, as MiniLM was made for.

What is compared: ``lora`` with LoRA; ``ssf``, which scales and shifts, with (IA)3, which scales; ``bitfit`` with BEFT
(added biases of the values) and with LayerNorm tuning. peft has no bottleneck adapters; those of the library
``adapters`` are not among what this project installs, so that ``adapter`` has no counterpart here.

A line is appended to the results for each pair, so that a run that is stopped goes on. At the end, the table: means
over domains and draws in %, and the mean paired difference with its 95% t interval. By default the domains are those
that tlbench's defaults were tuned on; name others to evaluate.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from peft_documented import DOCUMENTED, LITE, MINILM, Documented, their_model, their_optimizer
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.utils import logging

from tlbench.core.cell import Cell
from tlbench.data.dataset import TEST, Dataset, Task
from tlbench.planning.prepare import prepare
from tlbench.plugins import registry
from tlbench.stats.contrasts import paired_contrast
from tlbench.stats.scores import Scores
from tlbench.store.workspace import Workspace
from tlbench.training.batches import Batches, Examples
from tlbench.training.classifier import train_mode
from tlbench.training.context import Context
from tlbench.training.recipe import usual_augmentation, usual_epochs
from tlbench.worker.cache import WorkerCache
from tlbench.worker.fit_cell import FitHooks, fit_cell


@dataclass(frozen=True)
class Fitted:
    """What tlbench fitted a cell on.

    Attributes:
        cell: The cell.
        task: Its labelled examples.
        ctx: Gives the order of the examples and the moves of images.
        dataset: All examples, as the network reads them.
        prepare: Makes the network's input of raw images or token ids.
        accuracy: Ours.
    """

    cell: Cell
    task: Task
    ctx: Context
    dataset: Dataset
    prepare: nn.Module
    accuracy: float


def run_ours(cell: Cell, cache: WorkerCache, scratch: Path) -> Fitted:
    """Run a cell, and return what it was fitted on and what it reached."""
    seen: list[tuple[Task, Context]] = []
    hooks = FitHooks(on_fit=lambda task, ctx, fitted: seen.append((task, ctx)))
    outcome = fit_cell(cell, cache, scratch, hooks=hooks).outcome
    assert outcome is not None
    dataset, prepare = cache.read(cell.dataset, cell.backbone), cache.backbone(cell.backbone, cell.seed).prepare
    return Fitted(cell, *seen[-1], dataset, prepare, outcome.scores["accuracy"])


def run_theirs(task: str, documented: Documented, fitted: Fitted) -> float:
    """Train peft's model on the same batches, and return its accuracy on the same test."""
    torch.manual_seed(fitted.cell.seed)
    train, method = fitted.task.train, fitted.cell.method
    cfg = registry.declaration("methods", method.name).load().Config(**method.params)
    augmentation = usual_augmentation(cfg, [train], fitted.ctx)
    batches = Batches(Examples(train, torch.device("cpu")), cfg.batch_size, augmentation, fitted.ctx, "fit")
    epochs = usual_epochs(cfg.epochs, len(train), cfg.batch_size)
    pad = fitted.cell.backbone.info.recipe.get("vocabulary", {}).get("pad", 0)
    model = their_model(task, len(fitted.dataset.info.classes), pad, documented)
    optimizer, schedule = their_optimizer(model, documented, epochs * batches.count)
    for epoch in range(epochs):
        train_mode(model, "frozen")
        for batch in batches.epoch(epoch):
            cross_entropy(model(fitted.prepare(batch.x)), batch.y).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return _accuracy(model.eval(), fitted)


@torch.no_grad()
def _accuracy(model: nn.Module, fitted: Fitted) -> float:
    rows, right = fitted.dataset.rows(TEST), 0
    for part in np.array_split(rows, -(-len(rows) // 256)):
        x = fitted.prepare(torch.from_numpy(np.ascontiguousarray(fitted.dataset.x[part])))
        right += int((model(x).argmax(1).numpy() == fitted.dataset.y[part]).sum())
    return right / len(rows)


def suite(task: str, folder: Path, asked: argparse.Namespace) -> Path:
    """Write the suite of a task: every method at its defaults."""
    if task == "intents":
        backbone: dict[str, Any] = {"name": f"hf:{MINILM}", "weights": "hf"}
        member: dict[str, Any] = {"name": "texts", "path": "$TLBENCH_DATA/clinc150/clinc150.csv"}
        datasets: list[dict[str, Any]] = [{"of": {**member, "domain": domain}} for domain in asked.intents]
    else:
        backbone = {"name": f"timm:{LITE}", "weights": "timm", "image_size": 96}
        member = {"name": "folder", "path": "$TLBENCH_DATA/pacs/pacs160.zip"}
        datasets = [{"of": {**member, "domain": domain}} for domain in asked.photos]
    named = {each.ours for each in DOCUMENTED[task].values()}
    methods = [{"name": name, "params": _epochs(asked)} for name in asked.methods if name in named]
    fixed = {"protocol": "classification", "backbones": [backbone], "shots": asked.shots, "seeds": asked.seeds}
    path = folder / f"peft-{task}.yaml"
    path.write_text(json.dumps({"name": path.stem, "grids": [{"methods": methods, "datasets": datasets, **fixed}]}))
    return path


def _epochs(asked: argparse.Namespace) -> dict[str, int]:
    return {} if asked.epochs is None else {"epochs": asked.epochs}


def pairs(task: str, path: Path, results: Path, workspace: Workspace) -> None:
    """Run the pairs that have no line yet, seed by seed, and append a line for each."""
    done = {(line["id"], line["theirs"]) for line in lines(results)}
    cache = WorkerCache(workspace.artifacts, torch.device("cpu"))
    for cell in sorted(prepare(path, workspace.artifacts).plan.cells, key=lambda cell: (cell.seed, str(cell.shots))):
        left = {
            name: documented
            for name, documented in DOCUMENTED[task].items()
            if documented.ours == cell.method.name and (cell.id, name) not in done
        }
        fitted = run_ours(cell, cache, workspace.root / "scratch" / cell.id) if left else None
        for name, documented in left.items():
            assert fitted is not None
            start = time.perf_counter()
            accuracy = run_theirs(task, documented, fitted)
            line = {
                "id": cell.id,
                "task": task,
                "dataset": cell.dataset.info.name,
                "shots": str(cell.shots),
                "seed": cell.seed,
                "method": cell.method.label,
                "theirs": name,
                "accuracy": fitted.accuracy,
                "accuracy_theirs": accuracy,
                "seconds_theirs": round(time.perf_counter() - start, 1),
            }
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(*line.values(), flush=True)


def lines(results: Path) -> list[dict[str, Any]]:
    """Return the lines written so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def table(results: Path) -> Iterator[str]:
    """Yield the lines of the table."""
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines(results):
        rows.setdefault((line["task"], line["method"], line["theirs"]), []).append(line)
    yield "task, tlbench's method, peft's: labels of each class, means of both, ours minus theirs [95%], pairs"
    for names, row in sorted(rows.items()):
        shots = sorted({line["shots"] for line in row}, key=int)
        for budgets in [*([each] for each in shots), *([shots] if len(shots) > 1 else [])]:
            part = [line for line in row if line["shots"] in budgets]
            contrast = paired_contrast(_scores(part, "accuracy"), _scores(part, "accuracy_theirs"))
            assert contrast is not None
            found = contrast.estimate
            means = [100 * float(np.mean([line[key] for line in part])) for key in ("accuracy", "accuracy_theirs")]
            ends = "" if found.low is None else f" [{100 * found.low:+.1f}, {100 * (found.high or 0):+.1f}]"
            yield (
                f"{names[0]:8} {names[1]:16} {names[2]:22} {'+'.join(budgets):>8}  {means[0]:5.1f} {means[1]:5.1f} "
                f"{100 * found.mean:+5.1f}{ends}  {contrast.pairs}"
            )


def _scores(part: list[dict[str, Any]], key: str) -> Scores:
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for line in part:
        scores.setdefault((line["dataset"], line["shots"]), {})[line["seed"]] = line[key]
    return scores


def main() -> None:
    """Run what is asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=list(DOCUMENTED), default=list(DOCUMENTED))
    parser.add_argument("--intents", nargs="+", default=["banking", "travel"], help="domains of CLINC150")
    parser.add_argument("--photos", nargs="+", default=["cartoon", "sketch"], help="domains of PACS")
    parser.add_argument("--methods", nargs="+", choices=["lora", "ssf", "bitfit"], default=["lora", "ssf", "bitfit"])
    parser.add_argument("--shots", nargs="+", type=int, default=[10, 20])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="passes over the examples, on both sides; else tlbench's default")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)  # peft of LayerNorm, which it tunes
    folder = asked.results.absolute().parent / "peft"
    folder.mkdir(parents=True, exist_ok=True)
    for task in asked.tasks:
        pairs(task, suite(task, folder, asked), asked.results, Workspace.at(folder / "workspace"))
    print("\n".join(table(asked.results)))
    for task in asked.tasks:
        for name, documented in DOCUMENTED[task].items():
            print(f"{task}, {name}: {documented.source}")


if __name__ == "__main__":
    main()
