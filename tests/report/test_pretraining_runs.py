"""Rows that rest on one pre-training run are known, whatever the run made: the backbone, or that of a teacher."""

from __future__ import annotations

from dataclasses import replace

from made_results import results, run

from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.pretraining_runs import rows_on_one_run
from tlbench.report.report_data import build_report
from tlbench.report.shared_trainings import SharedTraining


def cells(method: str, *runs: str) -> list[ComparableCell]:
    """Return a row of cells, one a seed, that rest on these runs."""
    made = ComparableCell("classification", "classification", method, method, "conv4", "digits", "5", 0, 0.5)
    return [replace(made, seed=seed, pretrain_run=name) for seed, name in enumerate(runs)]


def with_teacher(cell: ComparableCell, run: str) -> ComparableCell:
    """Return a cell whose teacher, which is its own, starts from a pre-training run."""
    behind = (("teacher", f"teacher of {cell.seed}"), ("pre-training", run))
    return replace(cell, shared=tuple(SharedTraining(*each, "", None, "CPU", None, 1) for each in behind))


def test_one_run_behind_all_seeds_is_found() -> None:
    taught = [with_teacher(cell, "run of teachers") for cell in cells("taught", "", "")]
    varied = [with_teacher(cell, f"run {cell.seed}") for cell in cells("varied teachers", "", "")]
    found = rows_on_one_run(
        [
            *cells("one", "a", "a", "a"),
            *cells("two", "a", "b", "a"),
            *cells("given", "", "", ""),
            *cells("single seed", "a"),
            *taught,
            *varied,
        ]
    )
    assert {method for _, method, _ in found} == {"one", "taught"}
    assert rows_on_one_run([]) == frozenset()


def test_a_report_says_how_many_rows_rest_on_one_run() -> None:
    made = [
        run(method, 0.5 + seed / 100, seed, weights=weights, backbone_key="k", backbone_label=weights)
        for method in ("lora", "probe")
        for weights in ("pretrain", "random")
        for seed in range(3)
    ]
    told = [warning for warning in build_report(results(made)).warnings if "pre-training run" in warning]
    assert told == [
        "rows that rest on one pre-training run, whose luck no interval contains: 2 of 4 "
        "(`pretrain_seeds:` in a suite varies it)"
    ]
    assert not [
        warning
        for warning in build_report(results(each for each in made if each.params["weights"] == "random")).warnings
        if "pre-training run" in warning
    ]
