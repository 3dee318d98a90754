"""Trainings in segments: one that continues from a state equals an undisturbed one, with or without the state."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from one_process import Stop, new_cache, observe_epochs, stop_at
from searched_suites import prepared

from tlbench.core.cell import Cell
from tlbench.core.description import Trial
from tlbench.core.record import Outcome, Record
from tlbench.core.segments import GENERATIONS, Values, append_segment, extend_to_end
from tlbench.search.problem import SearchProblem
from tlbench.store.artifacts import Artifacts
from tlbench.training.context import Context
from tlbench.worker import fit_cell as fitting
from tlbench.worker.cache import WorkerCache
from tlbench.worker.cost_meter import CostMeter
from tlbench.worker.run_cell import run_cell
from tlbench.worker.segment_states import STATES, delete_states

EPOCHS = 6
METHODS: dict[str, dict[str, Any]] = {
    "adamw": {"name": "finetune", "params": {"epochs": EPOCHS}},
    "momentum": {"name": "finetune", "params": {"epochs": EPOCHS, "optimizer": "sgd"}},
    "unfreezing": {"name": "gradual_unfreezing", "params": {"epochs": EPOCHS, "order": "top_down"}},
    "lora": {"name": "lora", "params": {"epochs": EPOCHS}},
    "between": {"name": "wise_ft", "params": {"epochs": EPOCHS}},
}


@pytest.fixture
def setting(tmp_path: Path, decoded: Path) -> Any:
    def create(method: dict[str, Any]) -> SearchProblem:
        only, *_ = prepared(tmp_path, decoded, {"methods": [method]}, scheduler="pbt").searches.problems.values()
        return only

    return create


@pytest.fixture
def new_machine(decoded: Path, tmp_path: Path) -> Any:
    """Return a function that returns the cache of another machine, which has decoded data and nothing else."""
    count = iter(range(9))

    def create() -> WorkerCache:
        folder = tmp_path / f"machine {next(count)}"
        shutil.copytree(decoded / "datasets", folder / "datasets")
        return new_cache(folder)

    return create


def generations(setting: SearchProblem, *values: Values) -> list[Cell]:
    """The trials of one training, one for each generation."""
    cells: list[Cell] = []
    segments: Any = ()
    for number, (until, each) in enumerate(zip(GENERATIONS, values, strict=False), start=1):
        segments = append_segment(segments, until, setting.space.complete(each))
        cells.append(setting.trial_cell(Trial(setting.key, number, each, segments, number - 1 or None)))
    return cells


def outcome(cell: Cell, cache: WorkerCache, **more: Any) -> Outcome:
    record = run_cell(cell, cache, **more)
    assert record.outcome is not None, record.error
    return record.outcome


class Epochs:
    """Follows cells, and notes the epochs that they train."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def on_begin(self, meter: CostMeter) -> None:
        pass

    def on_epoch(self, ctx: Context, done: int, total: int) -> None:
        self.done.append(done)


def others(setting: SearchProblem) -> list[Values]:
    """The default configuration, and two that differ from it in all that may change."""
    start = setting.space.start
    moved = [start | {"lr": (start["lr"] or 1e-3) * factor, "weight_decay": 0.05} for factor in (10, 0.3)]
    return [start, *moved]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_segments_of_the_same_values_are_an_undisturbed_training(
    method: dict[str, Any], setting: Any, new_machine: Any
) -> None:
    here, cache = setting(method), new_machine()
    start = here.space.start
    *before, last = generations(here, start, start, start)
    plain = replace(last, id=here.key, trial=Trial(here.key, 1, start))  # the same root, and no segments
    straight = outcome(plain, new_machine())
    assert len(straight.curves["val_accuracy"]) == EPOCHS
    found = [outcome(cell, cache) for cell in before]
    assert [each.curves["val_accuracy"] for each in found] == [straight.curves["val_accuracy"][:n] for n in (2, 4)]
    assert outcome(last, cache) == straight


@pytest.mark.parametrize("method", ["adamw", "momentum", "unfreezing", "lora"])
def test_where_the_state_is_missing_the_segments_before_are_trained_again(
    method: str, setting: Any, new_machine: Any
) -> None:
    here, cache = setting(METHODS[method]), new_machine()
    cells = generations(here, *others(here))
    epochs = Epochs()
    found = [outcome(c, cache, observer=epochs) for c in cells]
    assert epochs.done == [1, 2, 3, 4, 5, 6], "each trial trains its own part"
    assert found[1].curves["train_loss"][:2] == found[0].curves["train_loss"]
    unchanged = generations(here, *[here.space.start] * 3)
    assert outcome(unchanged[2], cache).curves["train_loss"][2:4] != found[2].curves["train_loss"][2:4]
    epochs.done.clear()
    assert outcome(cells[2], new_machine(), observer=epochs) == found[2]
    assert epochs.done == [1, 2, 3, 4, 5, 6]
    assert len(list((cache.artifacts.root / STATES / here.key).glob("[!.]*"))) == 2
    assert not list((cache.artifacts.root / "running").iterdir())


def test_nothing_moves_in_a_segment_of_no_rate(setting: Any, new_machine: Any) -> None:
    """With the rates of the optimiser's state, or its decay, the last epochs would go on."""
    here = setting({"name": "finetune", "params": {"epochs": EPOCHS, "batch_norm": "frozen", "optimizer": "sgd"}})
    start = here.space.start | {"lr": 1e-2, "weight_decay": 0.1}
    still = start | {"lr": 1e-30, "weight_decay": 1e-6}
    cells, cache = generations(here, start, still), new_machine()
    first, second = (outcome(cell, cache).curves["val_nll"] for cell in cells)
    values = [value for _, value in second]
    assert values[:2] == [value for _, value in first]
    assert values[0] != values[1]
    assert values[1] == values[2] == values[3]


@pytest.mark.parametrize("epoch", [2, 3, 4, 6])
def test_a_cell_that_is_killed_in_any_segment_ends_as_if_nothing_had_happened(
    epoch: int, setting: Any, new_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = setting(METHODS["adamw"])
    segments = extend_to_end(generations(here, *others(here))[2].segments)
    cell = here.tuned_cell(Trial(here.key, 3, others(here)[2], segments))
    straight = run_cell(cell, new_machine())
    assert straight.outcome is not None
    assert straight.outcome.scores["accuracy"] > 0.1
    plain = outcome(here.tuned_cell(Trial(here.key, 3, others(here)[2])), new_machine())
    assert plain.curves["train_loss"] != straight.outcome.curves["train_loss"]

    cache, epochs = new_machine(), []
    observe_epochs(monkeypatch, fitting, stop_at(epoch))
    with pytest.raises(Stop):
        run_cell(cell, cache)
    observe_epochs(monkeypatch, fitting, lambda done, total: epochs.append(done))
    assert run_cell(cell, cache).digest == straight.digest
    assert epochs == list(range(epoch, EPOCHS + 1)), "what was saved is not trained again"


def test_a_trial_that_is_killed_in_mid_segment_goes_on_from_there(
    setting: Any, new_machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, cache = setting(METHODS["adamw"]), new_machine()
    first, _, last = generations(here, *others(here))
    straight: Record = run_cell(last, new_machine())
    run_cell(first, cache)
    epochs: list[int] = []
    for epoch in (3, 4, 5):
        observe_epochs(monkeypatch, fitting, stop_at(epoch))
        with pytest.raises(Stop):
            run_cell(last, cache)
    observe_epochs(monkeypatch, fitting, lambda done, total: epochs.append(done))
    assert run_cell(last, cache).digest == straight.digest
    assert epochs == [5, 6]


def test_states_are_deleted_when_a_search_is_over_or_abandoned(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    for name in ("over", "abandoned", "under way"):
        artifacts.get(f"{STATES}/{name}", "state", lambda folder: None)
    long_ago = (tmp_path / STATES / "under way").stat().st_mtime - 8 * 86400
    os.utime(tmp_path / STATES / "abandoned", (long_ago, long_ago))
    delete_states(["over", "never begun"], artifacts)
    assert [folder.name for folder in (tmp_path / STATES).iterdir()] == ["under way"]
