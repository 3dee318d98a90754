"""Planned cells stand under the labels of the finished ones."""

from __future__ import annotations

from typing import Any

from made_results import results, run

from tlbench.core.planned_setting import PlannedSetting
from tlbench.report.comparable_cells import comparable_cells
from tlbench.report.planned import PlannedCell, Row, planned_cells
from tlbench.report.results import tidy
from tlbench.store.mlflow.planned_cells import plan_tags
from tlbench.store.mlflow.stored_experiment import StoredExperiment

SEEDS = (0, 1, 2)


def planned(method: str, *, ways: str = "5", dataset: str = "digits", **facts: Any) -> PlannedSetting:
    """Return a planned setting of an episodic grid, in the words of :func:`made_results.run`."""
    return PlannedSetting(
        **{
            "protocol": "episodic", "options": f'{{"ways":"{ways}"}}', "method": method, "backbone": "resnet18/random",
            "dataset": dataset, "shots": "5", "seeds": SEEDS, "fingerprint": "f" * 60 + dataset[:4], **facts,
        }
    )  # fmt: skip


def finished(method: str, seed: int = 0, *, ways: str = "5", apart: bool = False, **facts: str) -> Any:
    named = "/".join((method, ways, str(seed), *facts.values()))
    tags = {"tlbench.cell": named} | ({"tlbench.transductive": "true"} if apart else {})
    return run(method, 0.5, seed, tags=tags, **{"protocol": "episodic", "option.ways": ways, **facts})


def rows(plan: list[PlannedSetting], *runs: Any) -> tuple[dict[Row, frozenset[PlannedCell]], list[Row]]:
    """Return the planned cells by row, and the rows of the finished cells."""
    done = results(runs).done
    cells, _ = comparable_cells(done, plan)
    return planned_cells(plan, done, cells), [(cell.protocol, cell.method, cell.backbone) for cell in cells]


def test_each_row_has_what_was_planned_for_it() -> None:
    plan = [planned("probe"), planned("probe", dataset="glyphs", shots="1", seeds=(7,)), planned("lora", seeds=(0,))]
    found, have = rows(plan, finished("probe"))
    probe, lora = (("episodic", name, "resnet18") for name in ("probe", "lora"))
    assert have == [probe]
    assert found == {
        probe: {("digits", "5", 0), ("digits", "5", 1), ("digits", "5", 2), ("glyphs", "1", 7)},
        lora: {("digits", "5", 0)},
    }


def test_options_have_the_same_label_before_and_after_they_are_run() -> None:
    plan = [planned("probe", ways=ways) for ways in ("5", "20")]
    five, twenty = ((f"episodic (ways={ways})", "probe", "resnet18") for ways in ("5", "20"))
    for runs in ([finished("probe")], [finished("probe"), finished("probe", ways="20")]):
        found, have = rows(plan, *runs)
        assert list(found) == [five, twenty]
        assert set(have) <= found.keys()
    assert have == [five, twenty]
    assert {len(own) for own in found.values()} == {3}


def test_results_that_nobody_plans_any_more_are_told_apart_too() -> None:
    found, have = rows([planned("probe")], finished("probe"), finished("probe", ways="20"))
    assert list(found) == [("episodic (ways=5)", "probe", "resnet18")]
    assert [protocol for protocol, *_ in have] == ["episodic (ways=5)", "episodic (ways=20)"]


def test_contents_under_one_name_are_told_apart() -> None:
    plan = [planned("probe", fingerprint="a" * 64), planned("probe", fingerprint="b" * 64)]
    found, _ = rows(plan, finished("probe", dataset_fingerprint="a" * 64))
    (own,) = found.values()
    assert own == {(name, "5", seed) for name in ("digits#aaaaaa", "digits#bbbbbb") for seed in SEEDS}


def test_what_is_planned_of_a_transductive_method_is_transductive() -> None:
    plan = [planned("maml"), planned("maml", dataset="glyphs"), planned("maml", backbone="conv4"), planned("probe")]
    found, have = rows(plan, finished("maml", apart=True), finished("probe"))
    apart = "episodic, transductive"
    assert {row: len(own) for row, own in found.items()} == {
        (apart, "maml", "resnet18"): 6,
        (apart, "maml", "conv4"): 3,
        ("episodic", "probe", "resnet18"): 3,
    }
    assert have[0] == (apart, "maml", "resnet18")


def test_a_setting_goes_with_its_own_cells_first() -> None:
    plan = [planned("maml"), planned("maml", dataset="glyphs"), planned("maml", dataset="faces")]
    found, _ = rows(plan, finished("maml", apart=True), finished("maml", dataset="glyphs"))
    apart, plain = (found[protocol, "maml", "resnet18"] for protocol in ("episodic, transductive", "episodic"))
    assert {dataset for dataset, *_ in apart} == {"digits"}
    assert {dataset for dataset, *_ in plain} == {"glyphs", "faces"}, "of faces nothing is known"


def test_the_same_data_in_another_folder_are_called_as_the_suite_calls_them() -> None:
    """A cell that another suite ran counts here too, under the name that is planned."""
    plan = [planned("probe", dataset="folder(valid)", fingerprint="f" * 64)]
    facts = {"dataset": "folder(val)", "dataset_fingerprint": "f" * 64}
    ran = (finished("probe", 0, **facts), finished("probe", 1, **facts, shots="1"), finished("probe", 2))
    read = tidy("valid", "memory", StoredExperiment(plan_tags(plan, 5000) | {"tlbench.plan": '{"cells": 3}'}, ran))
    assert read.planned_settings == tuple(plan)
    cells, _ = comparable_cells(read.done, read.planned_settings)
    assert {(cell.dataset, cell.seed) for cell in cells} == {("valid", 0), ("valid", 1), ("digits", 2)}
    ((_, asked),) = planned_cells(plan, read.done, cells).items()
    assert ("valid", "5", 0) in asked
