"""``pretrain_seeds`` lets pre-training runs go with the seeds of cells: in the plan, in ids, in labels, in messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tlbench.core.cell import Cell, cell_id
from tlbench.core.description import CellDescription
from tlbench.core.errors import UserError
from tlbench.suite.catalog import Catalog
from tlbench.suite.json_schema import schema
from tlbench.suite.plan import Plan
from tlbench.suite.spec import Suite
from tlbench.suite.yaml_source import parse
from tlbench.worker.artifact_jobs import PretrainingJob, required_artifacts

PRETRAINED = "{name: conv4, pretrain: {method: simclr, dataset: glyphs}}"
CHAIN = "{name: conv4, pretrain: {method: simclr, dataset: digits, after: {method: supervised, dataset: glyphs}}}"
LABEL = "conv4/simclr@glyphs"

PlanText = Callable[[str], Plan]


def text(own: str = "", *, suite: str = "", backbones: str = PRETRAINED, seeds: Any = 4) -> str:
    """Return a suite with lines of its own and a grid with keys of its own."""
    grid = f"{{protocol: classification, methods: [lora], backbones: [{backbones}], datasets: [digits], shots: [5]"
    return f"name: x\n{suite}grids:\n- {grid}, seeds: {seeds}{own}}}\n"


def runs(plan: Plan) -> dict[int, int]:
    """Return the seed of the last pre-training run by the seed of the cell."""
    return {cell.seed: cell.backbone.runs[-1].seed for cell in plan.cells if cell.backbone.pretrain is not None}


@pytest.mark.parametrize("where", [{"own": ", pretrain_seeds: 2"}, {"suite": "pretrain_seeds: 2\n"}])
def test_each_cell_rests_on_the_run_that_goes_with_its_seed(plan_text: PlanText, where: dict[str, str]) -> None:
    plan = plan_text(text(**where))
    assert runs(plan) == {0: 0, 1: 1, 2: 0, 3: 1}
    assert {cell.backbone.info.label for cell in plan.cells} == {f"{LABEL}#varied"}
    assert len({cell.backbone.artifact for cell in plan.cells}) == 2
    assert [len(each.seeds) for each in plan.settings()] == [4], "they are one setting, of which one row is made"


def test_a_list_names_the_seeds_and_a_grid_has_the_last_word(plan_text: PlanText) -> None:
    assert runs(plan_text(text(", pretrain_seeds: [7, 3]", seeds="[0, 1, 5]"))) == {0: 7, 1: 3, 5: 3}
    assert runs(plan_text(text(", pretrain_seeds: [7, 3]", suite="pretrain_seeds: 4\n", seeds=2))) == {0: 7, 1: 3}


def test_all_runs_of_a_chain_have_the_seed(plan_text: PlanText) -> None:
    plan = plan_text(text(", pretrain_seeds: 2", backbones=CHAIN, seeds=2).replace("shots: [5]", "shots: [full]"))
    assert [[run.seed for run in cell.backbone.runs] for cell in plan.cells] == [[0, 0], [1, 1]]


@pytest.mark.parametrize("varied", ["", ", pretrain_seeds: 1", ", pretrain_seeds: [0]"])
def test_one_run_is_what_it_always_was(plan_text: PlanText, varied: str) -> None:
    """Stored results are found by these ids."""
    plan = plan_text(text(varied, seeds=2))
    assert [cell.id for cell in plan.cells] == ["68aca2c7636b533e01f1", "e7444457269d198af851"]
    assert {cell.backbone.info.label for cell in plan.cells} == {LABEL}
    assert "backbone_group" not in plan.cells[0].describe().model_dump()


def test_one_named_run_is_that_of_a_recipe_with_this_seed(plan_text: PlanText) -> None:
    named = plan_text(text(backbones=PRETRAINED.replace("glyphs}", "glyphs, seed: 5}")))
    assert [cell.id for cell in plan_text(text(", pretrain_seeds: [5]")).cells] == [cell.id for cell in named.cells]


def test_cells_that_vary_have_ids_and_rows_of_their_own_and_share_weights(plan_text: PlanText) -> None:
    usual, varied = plan_text(text(seeds=2)).cells, plan_text(text(", pretrain_seeds: 2", seeds=2)).cells
    assert not {cell.id for cell in usual} & {cell.id for cell in varied}
    assert varied[0].backbone.artifact == usual[0].backbone.artifact, "run 0 is not trained again"
    assert all(cell.id == cell_id(cell.setting, cell.seed) for cell in varied)
    more = plan_text(text(", pretrain_seeds: 3", seeds=3)).cells
    assert [cell.id for cell in more[:2]] == [cell.id for cell in varied], "a further run makes none of them again"


def test_both_may_stand_in_one_suite(plan_text: PlanText) -> None:
    both = text(seeds=2) + text(", pretrain_seeds: 2", seeds=2).partition("grids:\n")[2]
    labels = [(cell.backbone.info.label, cell.seed) for cell in plan_text(both).cells]
    assert sorted(labels) == [(label, seed) for label in (LABEL, f"{LABEL}#varied") for seed in (0, 1)]


def test_the_stored_description_tells_the_run(plan_text: PlanText) -> None:
    cells = plan_text(text(", pretrain_seeds: 2", seeds=2)).cells
    stored = [cell.describe().model_dump(mode="json") for cell in cells]
    assert [each["recipe"]["weights"]["seed"] for each in stored] == [0, 1]
    assert len({each["backbone_key"] for each in stored}) == 2
    assert {each["backbone_group"] for each in stored} == {stored[0]["backbone_key"]}
    assert CellDescription.model_validate(stored[1]) == cells[1].describe()


def test_each_run_is_a_job_with_a_name_of_its_own(plan_text: PlanText) -> None:
    jobs = [job for cell in plan_text(text(", pretrain_seeds: 2", seeds=2)).cells for job in required_artifacts(cell)]
    assert all(isinstance(job, PretrainingJob) for job in jobs)
    assert len({job.id for job in jobs}) == 2
    assert [job.label for job in jobs] == [f"pre-training {LABEL}#varied with seed {seed}" for seed in (0, 1)]


def test_other_backbones_and_what_is_not_applicable_stay_as_they_are(plan_text: PlanText) -> None:
    labels = "{name: conv4, pretrain: {method: supervised, dataset: digits}}"  # reads more labels than the shots
    plan = plan_text(text(", pretrain_seeds: 2", backbones=f"conv4, {labels}"))
    plain = plan_text(text(backbones="conv4"))
    assert [cell.id for cell in plan.cells] == [cell.id for cell in plain.cells]
    (left_out,) = plan.not_applicable
    assert left_out.count == 4


def test_each_run_has_a_setting_of_its_own_for_searches(plan_text: PlanText) -> None:
    keys: dict[str, set[int]] = {}
    cells: list[Cell] = plan_text(text(", pretrain_seeds: 2")).cells
    for cell in cells:
        keys.setdefault(cell.setting.key, set()).add(cell.seed)
    assert sorted(map(sorted, keys.values())) == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (text(", pretrain_seeds: 0"), r"s\.yaml:3: pretrain_seeds: must be a number of seeds from 1 to"),
        (text(", pretrain_seeds: [1, 1]"), r"s\.yaml:3: pretrain_seeds: lists a seed twice"),
        (text(suite="pretrain_seeds: many\n"), r"s\.yaml:2: pretrain_seeds: must be a number"),
        (text(", pretrain_seed: 2"), r"s\.yaml:3: unknown key 'pretrain_seed'\n  did you mean 'pretrain_seeds'"),
        (
            text(", pretrain_seeds: 2", backbones="conv4"),
            r"s\.yaml:3: pretrain_seeds: no backbone of this grid is pre-",
        ),
        (text(suite="pretrain_seeds: 2\n", backbones="conv4"), r"s\.yaml:2: pretrain_seeds: no backbone of the suite"),
        (
            text(", pretrain_seeds: 2", backbones=PRETRAINED.replace("glyphs}", "glyphs, seed: 5}")),
            r"s\.yaml:3: seed: pretrain_seeds gives the seeds of this run\n  leave out",
        ),
        (
            text(suite="pretrain_seeds: 2\n", backbones=CHAIN.replace("glyphs}", "glyphs, seed: 5}")),
            r"s\.yaml:4: seed: pretrain_seeds gives the seeds",
        ),
        (
            text(", pretrain_seeds: 2") + text(", pretrain_seeds: 3").partition("grids:\n")[2],
            r"s\.yaml:4: pretrain_seeds: another grid pre-trains conv4 with the seeds 0, 1\n",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(read_suite: Callable[[str], Suite], suite: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_suite(suite)


@pytest.mark.parametrize(("value", "valid"), [("3", True), ("[0, 7]", True), ("[]", False), ("0", False), ("x", False)])
def test_the_schema_says_the_same(catalog: Catalog, value: str, valid: bool) -> None:
    check = jsonschema.Draft202012Validator(schema(catalog))
    for asked in (text(f", pretrain_seeds: {value}"), text(suite=f"pretrain_seeds: {value}\n")):
        assert check.is_valid(parse(asked, "s").value) == valid
