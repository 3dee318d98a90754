"""The plan: which cells there are, which make no sense and why, and what is left to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tlbench.core.cell import cell_id
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest
from tlbench.core.record import ResultInfo
from tlbench.suite.catalog import Catalog
from tlbench.suite.expand import expand
from tlbench.suite.plan import Plan
from tlbench.worker.artifact_jobs import PretrainingJob, required_artifacts

HEAD = "name: x\ngrids:\n"
AFTER_GLYPHS = "{method: simclr, dataset: digits, after: {method: supervised, dataset: glyphs}}"
GRID = "- {{protocol: {0}, methods: {1}, backbones: {2}, datasets: {3}, shots: {4}, seeds: {5}}}\n"


def suite(*grids: tuple[str, str, str, str, str, str]) -> str:
    return HEAD + "".join(GRID.format(*grid) for grid in grids)


def test_a_grid_is_a_product(plan_text: Callable[[str], Plan]) -> None:
    plan = plan_text(suite(("classification", "[linear_probe, lora]", "[conv4, resnet18]", "[digits]", "[1, 5]", "3")))
    assert len(plan.cells) == 2 * 2 * 1 * 2 * 3
    assert len({cell.id for cell in plan.cells}) == 24
    assert not plan.not_applicable
    for cell in plan.cells:
        assert cell.id == cell_id(cell.setting, cell.seed)


def test_a_plan_names_its_settings_with_their_seeds(plan_text: Callable[[str], Plan]) -> None:
    plan = plan_text(
        suite(
            (
                "classification",
                "[linear_probe, {name: lora, params: {rank: 4}}]",
                "[conv4]",
                "[digits]",
                "[1, full]",
                "2",
            ),
            ("classification", "[linear_probe]", "[conv4]", "[digits]", "[1]", "[1, 5]"),
            ("episodic, ways: 3", "[protonet]", "[conv4]", "[glyphs]", "[1]", "[7]"),
        )
    )
    found = plan.settings()
    assert sum(len(each.seeds) for each in found) == len(plan.cells) == 10
    assert {(each.method, each.dataset, each.shots): each.seeds for each in found} == {
        ("linear_probe", "digits", "1"): (0, 1, 5),
        ("linear_probe", "digits", "full"): (0, 1),
        ("lora(rank=4)", "digits", "1"): (0, 1),
        ("lora(rank=4)", "digits", "full"): (0, 1),
        ("protonet", "glyphs", "1"): (7,),
    }
    episodic = found[-1]
    assert (episodic.protocol, episodic.backbone) == ("episodic", "conv4/random")
    assert json.loads(episodic.options) == {"ways": 3, "queries": 15, "episodes": 1000}
    assert (episodic.fingerprint, episodic.execution) == (digest("glyphs"), "{}")
    assert json.loads(plan_text(PRECISE).settings()[0].execution) == {"precision": "float32"}


PRECISE = (
    suite(("classification", "[linear_probe]", "[conv4]", "[digits]", "[1]", "1")) + "resources: {precision: float32}\n"
)


def test_an_id_never_changes(plan_text: Callable[[str], Plan]) -> None:
    """Stored results are found by these ids: whoever makes this red makes every user compute everything again."""
    plan = plan_text(
        suite(
            (
                "classification",
                "[{name: lora, params: {rank: 4}}]",
                "[{name: conv4, width: 8}]",
                "[digits]",
                "[5]",
                "1",
            ),
            ("episodic", "[protonet]", "[conv4]", "[glyphs]", "[1]", "[7]"),
        )
    )
    assert [cell.id for cell in plan.cells] == ["66e527dfba2b28eb9d60", "452b5fca2c1dbd888bbd"]


@pytest.mark.parametrize(
    "methods",
    [
        "[{name: lora, params: {rank: 4, alpha: 2}}]",
        "[{params: {alpha: 2.0, rank: 4}, name: lora}]",
        "[{name: lora, params: {alpha: 2e0, rank: 4, bias: false, targets: [conv]}}]",
        "[{name: lora, params: {alpha: 2, rank: 4}}, {name: lora, params: {rank: 4, alpha: 2}}]",
    ],
)
def test_ids_depend_neither_on_key_order_nor_on_spelling_nor_on_repetition(
    plan_text: Callable[[str], Plan], methods: str
) -> None:
    plan = plan_text(suite(("classification", methods, "[{width: 8, name: conv4}]", "[digits]", "[5]", "[2]")))
    assert [cell.id for cell in plan.cells] == ["df4a678fbed3d374fe8b"]
    assert plan.cells[0].method.label == "lora(rank=4, alpha=2.0)"


def test_every_part_of_a_cell_changes_its_id(plan_text: Callable[[str], Plan]) -> None:
    base = ["classification", "[{name: lora, params: {rank: 4}}]", "[conv4]", "[digits]", "[full]", "[0]"]
    changes = [
        (1, "[{name: lora, params: {rank: 5}}]"), (1, "[linear_probe]"), (2, "[resnet18]"),
        (2, "[{name: conv4, width: 9}]"), (3, "[glyphs]"), (4, "[6]"), (4, "[5]"), (5, "[1]"),
        (2, "[{name: conv4, pretrain: {method: simclr, dataset: glyphs}}]"),
        (2, "[{name: conv4, pretrain: {method: simclr, dataset: glyphs, seed: 1}}]"),
        (2, "[{name: conv4, pretrain: {method: simclr, dataset: glyphs, params: {epochs: 3}}}]"),
        (2, "[{name: conv4, pretrain: {method: simclr, dataset: digits}}]"),
        (2, "[{name: conv4, pretrain: {method: supervised, dataset: digits}}]"),
        (2, f"[{{name: conv4, pretrain: {AFTER_GLYPHS}}}]"),
        (2, "[{name: resnet18, weights: torchvision, pretrain: {method: simclr, dataset: digits}}]"),
        (2, "[{name: resnet18, pretrain: {method: simclr, dataset: digits}}]"),
    ]  # fmt: skip
    ids = {plan_text(suite(tuple(base))).cells[0].id}  # type: ignore[arg-type]
    for place, text in changes:
        ids.add(plan_text(suite((*base[:place], text, *base[place + 1 :]))).cells[0].id)  # type: ignore[arg-type]
    assert len(ids) == len(changes) + 1


def test_the_same_cell_in_two_grids_is_one(plan_text: Callable[[str], Plan]) -> None:
    one = ("classification", "[linear_probe]", "[conv4]", "[digits]", "[1, 5]", "2")
    two = ("classification", "[lora, linear_probe]", "[conv4]", "[digits]", "[5]", "3")
    plan = plan_text(suite(one, two))
    assert len(plan.cells) == 2 * 2 + 3 + 1


def test_cells_that_share_weights_then_data_stand_together(plan_text: Callable[[str], Plan]) -> None:
    grids = [
        ("classification", "[linear_probe]", "[conv4, resnet18]", "[digits, glyphs]", "[1, 5]", "2"),
        ("classification", "[lora]", "[conv4, resnet18]", "[glyphs, digits]", "[1, 5]", "2"),
    ]
    runs: list[tuple[str, str]] = []
    for cell in plan_text(suite(*grids)).cells:
        at = (cell.backbone.info.name, cell.dataset.info.name)
        if not runs or runs[-1] != at:
            runs.append(at)
    expected = [(backbone, data) for backbone in ("conv4", "resnet18") for data in ("digits", "glyphs")]
    assert runs == expected


def test_what_makes_no_sense_is_listed_with_its_reason(plan_text: Callable[[str], Plan]) -> None:
    methods = "[lora, {name: lora, params: {rank: 65}}, protonet, simclr]"
    plan = plan_text(suite(("classification", methods, "[conv4, encoder]", "[digits]", "[30, 31]", "4")))
    assert len(plan.cells) == 4
    reasons = {(e.method, e.backbone, e.shots): (e.reason, e.count) for e in plan.not_applicable}
    assert len(reasons) == len(plan.not_applicable) == 4 * 2 * 2 - 1
    assert reasons["lora(rank=65)", "conv4/random", 30] == ("rank 65 is more than 64", 4)
    assert reasons["protonet", "conv4/random", 30] == ("protonet does not take part in classification", 4)
    assert reasons["simclr", "conv4/random", 30][0].startswith("simclr only pre-trains")
    assert reasons["lora", "conv4/random", 31] == ("class c0 has only 30 examples", 4)
    assert reasons["lora", "encoder/random", 30] == ("text backbones cannot read image data", 4)


def test_reasons_are_few_lines_that_count_every_cell(plan_text: Callable[[str], Plan]) -> None:
    plan = plan_text(suite(("classification", "[protonet]", "[conv4, resnet18]", "[digits]", "[1, 2, 3, 4]", "5")))
    (entry,) = plan.summarize_not_applicable()
    assert entry.count == 40
    assert entry.reason == "protonet does not take part in classification"
    assert entry.what == "protonet in classification: conv4/random, resnet18/random; digits; shots 1, 2, 3 and 1 more"


def test_progress_sorts_every_cell_into_one_list(plan_text: Callable[[str], Plan], catalog: Catalog) -> None:
    plan = plan_text(suite(("classification", "[lora]", "[conv4]", "[digits]", "[1]", "6")))
    ids = [cell.id for cell in plan.cells]
    method, protocol = plan.code.marks(plan.cells[0])
    known = {
        ids[0]: ResultInfo("done", method, protocol),
        ids[1]: ResultInfo("done", "older", protocol),
        ids[2]: ResultInfo("done", method, "older"),
        ids[3]: ResultInfo("failed", "older", protocol),
        ids[4]: ResultInfo("done"),
        "another suite's": ResultInfo("done"),
    }
    progress = plan.status(known)
    assert [cell.id for cell in progress.done] == [ids[0], ids[4]]
    assert [cell.id for cell in progress.stale] == [ids[1], ids[2]]
    assert [cell.id for cell in progress.failed] == [ids[3]]
    assert [cell.id for cell in progress.todo] == [ids[5]]


def test_adding_a_method_adds_only_its_cells(plan_text: Callable[[str], Plan]) -> None:
    before = plan_text(suite(("classification", "[lora]", "[conv4]", "[digits]", "[1, 5]", "2")))
    after = plan_text(suite(("classification", "[linear_probe, lora]", "[conv4]", "[digits]", "[1, 5]", "2")))
    todo = after.status({cell.id: ResultInfo("done") for cell in before.cells}).todo
    assert {cell.method.name for cell in todo} == {"linear_probe"}
    assert len(todo) == 4


def test_protocol_versions_and_options_reach_the_cell(plan_text: Callable[[str], Plan]) -> None:
    text = HEAD + "- {protocol: episodic, methods: [protonet], backbones: [conv4], datasets: [glyphs], ways: 3}\n"
    (cell,) = plan_text(text).cells
    assert cell.protocol.version == 2
    assert cell.protocol.options == {"ways": 3, "queries": 15, "episodes": 1000}


def test_a_changed_name_of_a_dataset_changes_no_id(
    catalog: Catalog, read_suite: Callable, resolve_suite: Callable
) -> None:
    pretrained = "[conv4, {name: conv4, pretrain: {method: simclr, dataset: digits}}]"
    read = read_suite(suite(("classification", "[lora]", pretrained, "[digits]", "[1]", "1")))
    datasets, backbones = resolve_suite(read)
    (key,) = datasets
    renamed = {key: replace(datasets[key], info=replace(datasets[key].info, name="folder(elsewhere)"))}
    one, two = expand(read, catalog, datasets, backbones), expand(read, catalog, renamed, backbones)
    assert [cell.id for cell in one.cells] == [cell.id for cell in two.cells]
    assert backbones[list(backbones)[1]].info.label == "conv4/simclr@digits"


def test_a_hundred_thousand_cells_are_planned_in_seconds_without_torch() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "plan_scale.py"
    environment = os.environ | {"PYTHONPATH": str(script.parents[2])}
    done = subprocess.run(
        [sys.executable, str(script), "--json"], capture_output=True, text=True, check=True, env=environment
    )
    figures = json.loads(done.stdout)
    assert figures["cells"] >= 100_000
    assert figures["seconds"] < 30  # target 10 on an idle machine; this one may be crowded
    assert figures["peak_mb"] < 500
    assert figures["torch"] is False


def test_pre_training_on_the_target_s_labels_breaks_the_budget_except_with_all_labels(
    plan_text: Callable[[str], Plan],
) -> None:
    backbone = "[{name: conv4, pretrain: {method: supervised, dataset: digits}}]"
    plan = plan_text(suite(("classification", "[linear_probe]", backbone, "[digits, glyphs]", "[5, full]", "[0]")))
    assert [(cell.dataset.name, cell.shots) for cell in plan.cells] == [
        ("digits", "full"),
        ("glyphs", 5),
        ("glyphs", "full"),
    ]
    (refused,) = plan.not_applicable
    assert refused.reason == "pre-training on digits read training labels of digits, more than 5 shots"


def test_a_changed_pre_training_method_makes_its_cells_stale(plan_text: Callable[[str], Plan]) -> None:
    backbone = "[{name: conv4, pretrain: {method: supervised, dataset: glyphs}}]"
    plan = plan_text(suite(("classification", "[linear_probe]", backbone, "[digits]", "[5]", "[0]")))
    (cell,) = plan.cells
    assert cell.backbone.pretrain is not None
    today, protocol = plan.code.marks(cell)
    method, pretraining = today.split("+")
    assert (method, pretraining) == (digest("linear_probe"), digest("supervised"))
    assert plan.status({cell.id: ResultInfo("done", today, protocol)}).done == [cell]
    older = f"{method}+{digest('older')}"
    assert plan.status({cell.id: ResultInfo("done", older, protocol)}).stale == [cell]


def test_a_chain_of_pre_training_runs_starts_where_the_weights_say(
    read_suite: Callable, resolve_suite: Callable
) -> None:
    chained = f"[{{name: resnet18, weights: torchvision, pretrain: {AFTER_GLYPHS}}}]"
    read = read_suite(suite(("classification", "[lora]", chained, "[digits]", "[1]", "1")))
    datasets, backbones = resolve_suite(read)
    assert sorted(choice.name for choice in datasets.values()) == ["digits", "glyphs"]
    (choice,) = backbones.values()
    assert [run.dataset.name for run in choice.runs] == ["glyphs", "digits"]
    assert choice.info.label == "resnet18/torchvision+supervised@glyphs+simclr@digits"
    assert choice.runs[0].start.info.weights == "torchvision"
    assert choice.runs[1].start.runs == choice.runs[:1]
    assert choice.info.recipe["weights"]["after"]["after"] == {"kind": "torchvision", "name": "DEFAULT"}
    assert required_artifacts(PretrainingJob(choice)) == [PretrainingJob(choice.runs[1].start)]
    assert required_artifacts(PretrainingJob(choice.runs[1].start)) == []


def test_a_run_anywhere_in_the_chain_spends_labels_and_makes_stale(plan_text: Callable[[str], Plan]) -> None:
    after = "{method: simclr, dataset: glyphs, after: {method: supervised, dataset: digits}}"
    plan = plan_text(
        suite(("classification", "[linear_probe]", f"[{{name: conv4, pretrain: {after}}}]", "[digits]", "[5]", "[0]"))
    )
    assert not plan.cells
    assert "pre-training on digits read training labels of digits" in plan.not_applicable[0].reason
    chained = f"[{{name: conv4, pretrain: {AFTER_GLYPHS}}}]"
    plan = plan_text(suite(("classification", "[linear_probe]", chained, "[glyphs]", "[full]", "[0]")))
    (cell,) = plan.cells
    assert cell.backbone.pretrain is not None
    today, protocol = plan.code.marks(cell)
    behind = today.split("+")
    assert len(behind) == 3
    assert plan.status({cell.id: ResultInfo("done", today, protocol)}).done == [cell]
    behind[1] = "older"
    assert plan.status({cell.id: ResultInfo("done", "+".join(behind), protocol)}).stale == [cell]


def test_what_a_method_does_not_read_is_not_applicable(plan_text: Callable[[str], Plan]) -> None:
    plan = plan_text(suite(("classification", "[mlm]", "[encoder, conv4]", "[pydocs, digits]", "[5]", "[0]")))
    assert [(cell.backbone.info.name, cell.dataset.name) for cell in plan.cells] == [("encoder", "pydocs")]
    assert {entry.reason for entry in plan.not_applicable} == {
        "mlm does not read image data",
        "text backbones cannot read image data",
        "image backbones cannot read text data",
    }


def test_a_backbone_cannot_be_pre_trained_on_what_it_cannot_read(plan_text: Callable[[str], Plan]) -> None:
    wrong = "[{name: conv4, pretrain: {method: supervised, dataset: pydocs}}]"
    with pytest.raises(UserError, match="conv4/random: image backbones cannot be pre-trained on pydocs"):
        plan_text(suite(("classification", "[linear_probe]", wrong, "[digits]", "[5]", "[0]")))
