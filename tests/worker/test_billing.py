"""A cell is billed for what it reads and does, whoever computed features first and whatever others do meanwhile."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_process import Stop, done, new_cache
from small_suites import CORPUS, FINETUNE, PRETRAINED, planned, suite
from torch import Tensor

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, Record
from tlbench.data.dataset import TEST
from tlbench.training import epoch_loop
from tlbench.training import frozen_features as features
from tlbench.training.process_group import ProcessGroup
from tlbench.worker import cost_meter
from tlbench.worker.cost_meter import SPENT_FILE, CostMeter
from tlbench.worker.run_cell import checkpoint_folder, run_cell

SLOW = 2.0
"""CPU-seconds that embedding a whole dataset takes longer here: several times what the rest of a cell takes."""
BUSY = 0.2
"""Largest growth of CPU-seconds on a busy core, as a share of the growth of wall seconds: what caches come to."""


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def own(tmp_path: Path, decoded: Path) -> Path:
    """An artifact folder with decoded data and nothing else."""
    planned(suite("opens", {"datasets": ["digits", CORPUS]}), tmp_path, decoded)
    shutil.copytree(decoded / "datasets", tmp_path / "own" / "datasets")
    return tmp_path / "own"


@pytest.fixture
def slow_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    embed = features.embed

    def slow(encode: Any, x: Any, rows: Any, device: Any) -> Tensor:
        if rows is None:
            burn(SLOW)
        return embed(encode, x, rows, device)

    monkeypatch.setattr(features, "embed", slow)


def frozen_cells(folder: Path, artifacts: Path, methods: list[str], **grid: Any) -> list[Cell]:
    return planned(suite("frozen", {"methods": methods, "seeds": 1} | grid), folder, artifacts)


def own_part(cost: Cost) -> float:
    """The bill without the embedding."""
    assert cost.device_seconds is not None
    assert cost.embedding_seconds is not None
    return cost.device_seconds - cost.embedding_seconds


@pytest.mark.parametrize("order", [["linear_probe", "knn"], ["knn", "linear_probe"]])
def test_whoever_comes_first_the_same_features_cost_the_same(
    order: list[str], own: Path, tmp_path: Path, slow_embedding: None
) -> None:
    cells = sorted(frozen_cells(tmp_path, own, order), key=lambda cell: order.index(cell.method.name))
    assert [cell.method.name for cell in cells] == order
    first, second = (done(cell, new_cache(own)).cost for cell in cells)
    assert first.cpu_seconds > SLOW > second.cpu_seconds, "as measured, the first one computes them for both"
    assert first.embedding_seconds == second.embedding_seconds
    assert first.examples_embedded == second.examples_embedded
    assert max(own_part(first), own_part(second)) < SLOW / 2, "and is not billed for that beside the price"

    dataset = new_cache(own).dataset(cells[0].dataset)
    read = 5 * len(dataset.info.classes) + len(dataset.rows(TEST))
    assert first.examples_embedded == read, "labelled examples, validation among them, and the test"
    assert first.embedding_seconds == pytest.approx(read / len(dataset.y) * SLOW, rel=0.6)


def test_a_trial_is_billed_for_what_it_reads_and_reads_no_test(own: Path, tmp_path: Path) -> None:
    (cell,) = frozen_cells(tmp_path, own, ["knn"])
    reads = new_cache(own).features(cell.backbone, cell.seed, new_cache(own).dataset(cell.dataset)).for_cell()
    rows = np.arange(10)
    reads.take(rows)
    reads.take(rows[5:])
    assert reads.examples_read == 10, "an example is embedded once, however often it is read"
    assert reads.for_cell().examples_read == 0


def test_features_that_were_kept_without_a_price_are_priced_on_a_batch(own: Path, tmp_path: Path) -> None:
    cells = frozen_cells(tmp_path, own, ["linear_probe", "knn"])
    fresh = done(cells[0], new_cache(own)).cost
    shutil.rmtree(own / "feature_prices")
    old, again = (done(cell, new_cache(own)).cost for cell in cells)
    assert old.embedding_seconds == again.embedding_seconds
    assert fresh.embedding_seconds is not None
    assert old.embedding_seconds is not None
    assert 1 / 4 < old.embedding_seconds / fresh.embedding_seconds < 4


def test_a_cell_costs_the_same_in_a_new_process_and_in_one_that_has_all_in_memory(own: Path, tmp_path: Path) -> None:
    cells = planned(suite("both", {"methods": [FINETUNE, "knn"], "backbones": [PRETRAINED]}), tmp_path, own)
    code = (
        "import pickle, sys, torch\n"
        "from tlbench.store.artifacts import Artifacts\n"
        "from tlbench.worker.process import start_worker_process\n"
        "from tlbench.core.resources import Resources\n"
        "from tlbench.worker.run_cell import run_cell\n"
        f"cache = start_worker_process({str(own)!r}, Resources())\n"
        "cells = pickle.load(open(sys.argv[1], 'rb'))\n"
        "for cell in [*cells, *cells, *cells]:\n"
        "    print(run_cell(cell, cache).cost.model_dump_json())\n"
    )
    (tmp_path / "cells").write_bytes(pickle.dumps(cells[:1] + cells[2:3]))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cells")], capture_output=True, text=True, check=True
    )
    costs = [Cost.model_validate_json(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    for place in (0, 1):
        cold, *warm = costs[place::2]
        assert cold.device_seconds is not None
        for each in warm:
            assert each.device_seconds == pytest.approx(cold.device_seconds, rel=0.5, abs=0.05)
            assert each.embedding_seconds == cold.embedding_seconds
    cold, *warm = costs[1::2]
    assert cold.seconds > 2 * max(each.seconds for each in warm), "by the clock, the first one embeds for all"


@pytest.fixture
def one_core() -> Iterator[int]:
    """This process on one core, and the core's number."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to a core")
    before = os.sched_getaffinity(0)
    core = min(before)
    os.sched_setaffinity(0, {core})
    yield core
    os.sched_setaffinity(0, before)


@pytest.mark.slow
def test_another_process_on_the_core_changes_the_wall_seconds_and_hardly_the_bill(
    one_core: int, own: Path, tmp_path: Path
) -> None:
    longer = {**FINETUNE, "params": {"epochs": 60}}
    (cell,) = planned(suite("busy", {"methods": [longer], "seeds": 1, "shots": [20]}), tmp_path, own)
    done(cell, new_cache(own))
    alone = done(cell, new_cache(own)).cost
    spin = f"import os; os.sched_setaffinity(0, {{{one_core}}})\nwhile True: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]
    try:
        time.sleep(0.5)
        busy = done(cell, new_cache(own)).cost
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert alone.device_seconds is not None
    assert busy.device_seconds is not None
    assert busy.seconds > 1.8 * alone.device_seconds
    growth = busy.device_seconds / alone.device_seconds - 1, busy.seconds / alone.device_seconds - 1
    assert growth[0] < BUSY * growth[1], "caches are shared, so that the work itself takes a little longer"


def test_pre_training_is_told_to_each_cell_that_uses_it_and_billed_to_none(own: Path, tmp_path: Path) -> None:
    cells = planned(suite("starts", {"methods": ["knn"], "backbones": [PRETRAINED], "seeds": 3}), tmp_path, own)
    records = [done(cell, new_cache(own)) for cell in cells]
    (shared,) = {record.cost.shared for record in records}
    (run,) = shared
    assert (run.kind, run.key) == ("pre-training", f"pretrained-{cells[0].backbone.artifact}")
    assert run.device == "CPU"
    (file,) = (own / "pretrained").glob("*/cost.json")
    told = json.loads(file.read_text())
    assert run.device_seconds == told["device_seconds"] == told["cpu_seconds"] > 0
    assert run.seconds == told["seconds"]
    assert all((record.cost.device_seconds or 0) < run.device_seconds for record in records)

    told_by_older = file.with_name("training.json")
    file.unlink()
    (old,) = done(cells[0], new_cache(own)).cost.shared
    assert (old.device_seconds, old.seconds) == (None, json.loads(told_by_older.read_text())["seconds"])


def test_what_an_earlier_attempt_spent_until_its_checkpoint_is_on_the_bill(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = {**FINETUNE, "params": {"epochs": 6}}
    (cell,) = planned(suite("again", {"methods": [longer], "seeds": 1}), tmp_path, own)
    whole = done(cell, new_cache(own)).cost
    save = epoch_loop.Epochs._save

    def save_and_stop(self: Any) -> None:
        burn(SLOW)
        save(self)
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(epoch_loop.Epochs, "_save", save_and_stop)
        patch.setattr("tlbench.worker.fit_cell.Checkpoints", _every_epoch)
        with pytest.raises(Stop):
            run_cell(cell, new_cache(own))
    kept = json.loads((checkpoint_folder(cell, own) / SPENT_FILE).read_text())
    assert kept["cpu_seconds"] > SLOW
    resumed = done(cell, new_cache(own)).cost
    assert resumed.device_seconds is not None
    assert whole.device_seconds is not None
    assert resumed.device_seconds > kept["cpu_seconds"]
    assert resumed.cpu_seconds < resumed.device_seconds, "as measured, it is what this attempt did"
    assert done(cell, new_cache(own)).cost.device_seconds < SLOW + whole.device_seconds, "and nothing is kept of it"


def _every_epoch(folder: Path, **more: Any) -> epoch_loop.Checkpoints:
    return epoch_loop.Checkpoints(folder, 0.0, **more)


def test_the_cpu_seconds_of_a_group_are_those_of_all_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_meter, "all_reduce_sum", lambda own, group: 3 * own)
    meter = CostMeter(torch.device("cpu"), ProcessGroup(0, 3))
    with meter.training():
        burn(0.2)
    burn(0.1)
    cost = meter.cost(2, 0)
    assert 0.7 <= cost.cpu_seconds == cost.device_seconds, "this one's, and twice what it had spent in training"
    assert cost.cpu_seconds < 0.8
    assert cost.cpus == 6
    assert meter.cost(1, 0.5).device_seconds == pytest.approx(1.5 * meter.cost(1, 0.5).seconds, rel=0.1)


def test_gpu_seconds_are_gpus_held_times_wall_seconds() -> None:
    meter = CostMeter(torch.device("cpu"))
    time.sleep(0.2)
    cost = meter.cost(2, 0.5)
    assert cost.device == "GPU"
    assert cost.device_seconds == pytest.approx(0.5 * cost.seconds)


def test_records_made_before_bills_were_kept_are_read_and_have_none() -> None:
    old = {
        "seconds": 2.0, "train_seconds": 1.0, "cpu_seconds": 1.5, "peak_memory": 7, "gpus": 0, "cpus": 3,
        "started": 100.0,
    }  # fmt: skip
    cost = Cost.model_validate(old)
    assert (cost.device_seconds, cost.embedding_seconds, cost.examples_embedded, cost.shared) == (None, None, None, ())
    assert cost.billed == 6.0, "what a budget is charged with: the devices held, times wall seconds"


def test_a_failed_cell_has_a_bill_too(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = frozen_cells(tmp_path, own, ["knn"])

    def fail(*_: object) -> None:
        burn(0.1)
        raise RuntimeError("no price")

    monkeypatch.setattr(features.FrozenFeatures, "take", fail)
    record: Record = run_cell(cell, new_cache(own))
    assert record.status == "failed"
    assert record.cost.device_seconds is not None
    assert record.cost.device_seconds >= 0.1
