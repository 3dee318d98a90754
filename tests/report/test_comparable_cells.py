"""Which finished cells count, and under which names."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tlbench.report.comparable_cells import ComparableCell, comparable_cells
from tlbench.report.results import COLUMNS
from tlbench.report.rows import baseline


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return finished cells that differ from one another in what is given."""
    usual: dict[str, Any] = dict.fromkeys(COLUMNS, float("nan")) | {
        "ended": 1.0, "protocol": "classification", "protocol_version": "1", "method": "lora", "method_label": "lora",
        "backbone": "conv4", "backbone_label": "conv4", "weights": "random", "backbone_key": "k", "dataset": "digits",
        "dataset_fingerprint": "aaaaaaaa", "shots": "5", "seed": 0, "options": "{}", "params": "{}",
        "transductive": False, "test/accuracy": 0.5,
    }  # fmt: skip
    return pd.DataFrame([usual | {"run_id": str(number)} | row for number, row in enumerate(rows)])


def test_options_that_vary_split_a_protocol_and_others_stay_unsaid() -> None:
    cells, notes = comparable_cells(
        frame(
            {"protocol": "episodic", "options": '{"episodes":"600","ways":"5"}'},
            {"protocol": "episodic", "options": '{"episodes":"600","ways":"20"}'},
            {"protocol": "classification", "options": "{}"},
        )
    )
    assert [cell.protocol for cell in cells] == ["episodic (ways=5)", "episodic (ways=20)", "classification"]
    assert {cell.protocol_name for cell in cells} == {"episodic", "classification"}
    assert notes == ()


def test_what_is_transductive_is_a_protocol_of_its_own() -> None:
    usual, maml = {"protocol": "episodic"}, {"protocol": "episodic", "method_label": "maml", "transductive": True}
    cells, notes = comparable_cells(frame(usual, maml))
    assert [cell.protocol for cell in cells] == ["episodic", "episodic, transductive"]
    assert [cell.transductive for cell in cells] == [False, True]
    assert {cell.protocol_name for cell in cells} == {"episodic"}
    assert notes == ()
    ways = {"options": '{"ways":"5"}'}
    cells, _ = comparable_cells(frame(usual | ways, maml | ways, usual | {"options": '{"ways":"20"}'}))
    assert [cell.protocol for cell in cells] == [
        "episodic (ways=5)",
        "episodic (ways=5), transductive",
        "episodic (ways=20)",
    ]


def test_a_setting_that_is_no_longer_transductive_leaves_nothing_behind() -> None:
    old = {"protocol": "episodic", "params": '{"batch_norm":"batch"}', "transductive": True}
    new = {"protocol": "episodic", "ended": 2.0}
    cells, notes = comparable_cells(frame(old, new))
    assert [cell.protocol for cell in cells] == ["episodic"]
    assert "left out: 1" in notes[0]


def test_one_name_for_two_contents_is_told_apart() -> None:
    cells, notes = comparable_cells(frame({}, {"dataset_fingerprint": "bbbbbbbb"}, {"dataset": "glyphs"}))
    assert [cell.dataset for cell in cells] == ["digits#aaaaaa", "digits#bbbbbb", "glyphs"]
    assert "digits" in notes[0]


@pytest.mark.parametrize("changed", [{"params": '{"lr":"1"}'}, {"protocol_version": "2"}, {"backbone_key": "l"}])
def test_only_the_newest_version_of_a_setting_counts(changed: dict[str, str]) -> None:
    old = [{"seed": seed, "ended": 5.0, "test/accuracy": 0.1} for seed in range(3)]
    new = [{"seed": seed, "ended": 6.0, "test/accuracy": 0.9, **changed} for seed in range(2)]
    cells, notes = comparable_cells(frame(*old, *new))
    assert [(cell.seed, cell.accuracy) for cell in cells] == [(0, 0.9), (1, 0.9)]  # seed 2 is not filled from the old
    assert "left out: 3" in notes[0]


def test_pre_training_runs_that_go_with_the_seeds_are_no_versions_of_one_another() -> None:
    cells = [
        {"seed": seed, "ended": float(seed), "backbone_key": f"run{seed % 2}", "backbone_group": "run0",
         "pretrain_run": f"run{seed % 2}"}
        for seed in range(4)
    ]  # fmt: skip
    found, notes = comparable_cells(frame(*cells))
    assert [(cell.seed, cell.pretrain_run) for cell in found] == [(0, "run0"), (1, "run1"), (2, "run0"), (3, "run1")]
    assert notes == ()
    older = [cell | {"backbone_group": "old"} for cell in cells[:1]]
    found, notes = comparable_cells(frame(*older, *cells[1:]))
    assert [cell.seed for cell in found] == [1, 2, 3]
    assert "left out: 1" in notes[0]


def test_snapshots_of_earlier_versions_know_of_no_runs() -> None:
    found, notes = comparable_cells(frame({}, {"seed": 1}).drop(columns=["backbone_group", "pretrain_run"]))
    assert [(cell.seed, cell.pretrain_run) for cell in found] == [(0, ""), (1, "")]
    assert notes == ()


def test_the_same_seed_twice_counts_once() -> None:
    cells, _ = comparable_cells(frame({"ended": 1.0, "test/accuracy": 0.1}, {"ended": 2.0, "test/accuracy": 0.2}))
    assert [cell.accuracy for cell in cells] == [0.2]


def test_a_cell_without_a_score_is_missing_and_said_so() -> None:
    cells, notes = comparable_cells(frame({"test/accuracy": float("nan")}, {"seed": 1}))
    assert [cell.seed for cell in cells] == [1]
    assert "counted as missing: 1" in notes[0]
    assert comparable_cells(frame({}).head(0)) == ((), ())


def measured(method: str, label: str, protocol: str = "classification") -> ComparableCell:
    """Return a cell of a method under a label."""
    return ComparableCell(protocol, protocol, label, method, "conv4", "digits", "5", 0, 0.5)


def test_baseline_by_label_then_by_only_variant() -> None:
    plain, rank = measured("lora", "lora"), measured("lora", "lora(rank=4)")
    assert baseline.find([plain, rank], "lora").label == "lora"
    assert baseline.find([plain, rank], "lora(rank=4)").label == "lora(rank=4)"
    assert baseline.find([rank], "lora").label == "lora(rank=4)"


def test_absent_baseline_says_why() -> None:
    several = [measured("lora", "lora(rank=4)"), measured("lora", "lora(rank=8)")]
    assert "lora(rank=4), lora(rank=8)" in baseline.find(several, "lora").absence
    assert "names no baseline" in baseline.find(several, "").absence
    assert "no result" in baseline.find(several, "somebody_elses_method").absence


def test_baseline_that_does_not_apply_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class Declared:
        protocols = ("classification",)

    monkeypatch.setattr(baseline.registry, "declaration", lambda kind, name: {"probe": Declared}[name])
    absence = baseline.find([measured("protonet", "protonet", "episodic")], "probe(C=1)").absence
    assert absence == "the baseline probe(C=1) does not apply to episodic"
