"""The commands plan and check: what a run will do and cost, and whether a suite is fine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from looked_suite import commit

from tlbench.planning.prepare import PreparedSuite, prepare


def test_a_dataset_may_be_written_in_any_case(command: Any, file: Callable[..., Path]) -> None:
    pretrain = {"method": "supervised", "dataset": "glyphs"}
    backbones = [{"name": "conv4", "width": 8}, {"name": "conv4", "width": 8, "pretrain": pretrain}]
    ids = [
        json.loads(command("plan", file(datasets=[name], backbones=backbones), "--json").out)["todo_ids"]
        for name in ("digits", "Digits")
    ]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 24
    pretrain["dataset"] = {"name": "GLYPHS"}
    assert json.loads(command("plan", file(backbones=backbones), "--json").out)["todo_ids"] == ids[0]


def test_plan_tells_what_a_search_will_try(command: Any, file: Callable[..., Path]) -> None:
    path = file(methods=["linear_probe", "finetune"], search={"trials": 4}, shots=[5])
    said = command("plan", path)
    assert "searching first: 0 of at most 12 trials done, 60 trainings left, for 3 cells" in said.out, "five folds each"
    assert "3 cells with the default settings, to tell what the searches gain" in said.out
    seen = json.loads(command("plan", path, "--json").out)
    assert seen["trials"] == {"done": 0, "at_most": 12, "trainings": 60, "stale": 0}
    assert "searching" not in command("plan", file()).out


def test_plan_tells_what_is_to_do_what_makes_no_sense_and_what_it_will_cost(
    command: Any, file: Callable[..., Path]
) -> None:
    path = file(methods=["knn", "nearest_centroid", "protonet"])
    assert command("check", path).out == f"{path}: fine, 12 cells, 6 not applicable (`tlbench plan {path}` says why)\n"
    seen = json.loads(command("plan", path, "--json").out)
    assert (seen["cells"], seen["todo"], seen["done"]) == (12, 12, 0)
    assert sum(entry["count"] for entry in seen["not_applicable"]) == 6
    text = command("plan", path).out
    assert text.startswith("looked: 12 cells · 12 todo\n  not applicable (6): protonet in classification")
    assert "about 0.2 CPU-h; 12m00 if cells ran one after another" in text
    assert f"`tlbench run {path}` runs what is to do" in text
    commit(path, 12)
    assert command("plan", path).out.startswith("looked: 12 cells · 12 done\n")
    assert "tlbench run" not in command("plan", path).out


def test_a_limit_that_is_used_up_is_shown(command: Any, file: Callable[..., Path]) -> None:
    path = file(limits={"cpu_hours": 1})
    commit(path, 2, seconds=600)
    assert "limits.cpu_hours: 0.667 of 1 used\n" in command("plan", path).out
    commit(path, 1, seconds=600)
    assert "limits.cpu_hours: 1 of 1 used: no further cell starts\n" in command("status", path).out


def test_of_many_notes_a_few_are_told(command: Any, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(*args: Any) -> PreparedSuite:
        return replace(prepare(*args), warnings=tuple(f"pair {number}" for number in range(13)))

    monkeypatch.setattr("tlbench.planning.prepare.prepare", noted)
    said = command("check", file()).err
    assert said.count("pair ") == 10
    assert "and 3 more" in said
