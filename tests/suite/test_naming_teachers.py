"""A teacher is named where one is read, takes part in ids, labels, records and checks, and changes nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.core.record import ResultInfo
from tlbench.suite.catalog import Catalog
from tlbench.suite.json_schema import schema
from tlbench.suite.plan import Plan
from tlbench.suite.spec import Suite
from tlbench.suite.yaml_source import parse

GOOD = """\
name: x
baseline: distillation
grids:
- protocol: classification
  methods:
  - lora
  - name: distillation
    teacher:
      method: finetune
      params: {epochs: 3}
      backbone:
        name: resnet18
        width: 32
        pretrain: {method: supervised, dataset: GLYPHS}
    params: {temperature: 2.0}
  backbones: [conv4]
  datasets: [digits]
  shots: [5, full]
  seeds: 2
"""
LINES = GOOD.splitlines()


def changed(first: int, last: int, *text: str) -> str:
    """The good suite with the lines ``first`` to ``last`` (from 1) replaced."""
    return "\n".join([*LINES[: first - 1], *text, *LINES[last:]]) + "\n"


def taught(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells if cell.method.name == "distillation"]


def test_a_suite_opens_what_its_teachers_need(read_suite: Callable[[str], Suite]) -> None:
    suite = read_suite(GOOD)
    assert {spec.name for spec in suite.datasets.values()} == {"digits", "glyphs"}
    assert {spec.name for spec in suite.backbones.values()} == {"conv4", "resnet18"}
    (teacher,) = suite.grids[0].teachers
    assert (teacher.method, teacher.params, teacher.backbone.params) == ("finetune", {"epochs": 3}, {"width": 32})


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (changed(6, 6, "  - distillation"), "s.yaml:6: distillation learns from a teacher: name one", "backbone: ..."),
        (changed(8, 14), "s.yaml:7: distillation learns from a teacher: name one", "teacher: {backbone: ...}"),
        (
            changed(15, 15).replace("distillation", "lora"),
            "s.yaml:8: lora reads no teacher",
            "distillation",
        ),
        (changed(8, 14, "    teacher: conv4"), "s.yaml:8: teacher: must be a mapping of keys", ""),
        (changed(11, 14), "s.yaml:8: 'backbone' is missing", ""),
        (changed(9, 9, "      method: finetun"), "s.yaml:9: unknown method 'finetun'", "did you mean 'finetune'?"),
        (changed(9, 10, "      method: linear_probe"), "s.yaml:9: linear_probe cannot train a teacher", "finetune"),
        (changed(9, 10, "      method: distillation"), "s.yaml:9: distillation cannot train a teacher", "finetune"),
        (changed(9, 10, "      method: protonet"), "s.yaml:9: protonet cannot train a teacher", "finetune"),
        (changed(9, 10, "      method: supervised"), "s.yaml:9: supervised cannot train a teacher", "finetune"),
        (changed(9, 9, "      metod: finetune"), "s.yaml:9: unknown key 'metod'", "did you mean 'method'?"),
        (changed(10, 10, "      params: {epoch: 3}"), "s.yaml:10: unknown key 'epoch'", "did you mean 'epochs'?"),
        (changed(9, 10, "      params: {epochs: 0}"), "s.yaml:9: epochs: must be greater than or equal to 1", ""),
        (changed(12, 12, "        name: resnet81"), "s.yaml:12: unknown backbone 'resnet81'", "'resnet18'"),
        (changed(13, 13, "        widht: 3"), "s.yaml:13: backbone resnet18 has no option 'widht'", "'width'"),
        (
            changed(14, 14, "        pretrain: {method: lora, dataset: glyphs}"),
            "s.yaml:14: lora does not pre-train",
            "valid: mlm, simclr, supervised",
        ),
        (changed(14, 14, "        weights: {file: none.pt}"), "s.yaml:14: no weights file 'none.pt'", "looked for"),
        (changed(15, 15, "    params: {temprature: 2}"), "s.yaml:15: unknown key 'temprature'", "'temperature'"),
    ],
)
def test_each_mistake_is_one_message_at_its_line(
    read_suite: Callable[[str], Suite], catalog: Catalog, text: str, message: str, hint: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_suite(text)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint
    if not re.search("file|widht", text):  # only the loader looks for files and knows a backbone's options
        validator = jsonschema.Draft202012Validator(schema(catalog))
        assert list(validator.iter_errors(parse(text.replace("GLYPHS", "glyphs"), "f").value))


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        changed(9, 10),
        changed(9, 9),
        changed(9, 14, "      backbone: conv4"),
        changed(9, 9, "      method: from_scratch"),
    ],
)
def test_the_schema_takes_what_the_loader_takes(
    read_suite: Callable[[str], Suite], catalog: Catalog, text: str
) -> None:
    read_suite(text)
    validator = jsonschema.Draft202012Validator(schema(catalog))
    assert not list(validator.iter_errors(parse(text.replace("GLYPHS", "glyphs"), "f").value))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (GOOD, "distillation(teacher=resnet18/supervised@glyphs/finetune(epochs=3), temperature=2.0)"),
        (changed(9, 10), "distillation(teacher=resnet18/supervised@glyphs, temperature=2.0)"),
        (changed(9, 15, "      backbone: conv4"), "distillation(teacher=conv4/random)"),
        (
            changed(9, 15, "      backbone: conv4", "      method: from_scratch"),
            "distillation(teacher=conv4/random/from_scratch)",
        ),
    ],
)
def test_labels_tell_the_teacher_and_how_it_differs_from_the_usual(
    plan_text: Callable[[str], Plan], text: str, label: str
) -> None:
    assert {cell.method.label for cell in taught(plan_text(text))} == {label}


def test_every_part_of_a_teacher_changes_the_ids_of_its_cells_and_no_others(plan_text: Callable[[str], Plan]) -> None:
    texts = [
        GOOD,
        changed(10, 10, "      params: {epochs: 4}"),
        changed(9, 9, "      method: from_scratch").replace(LINES[13] + "\n", ""),
        changed(13, 13, "        width: 33"),
        changed(14, 14),
        changed(14, 14, "        pretrain: {method: supervised, dataset: glyphs, seed: 1}"),
    ]
    plans = [plan_text(text) for text in texts]
    ids = [{cell.id for cell in taught(plan)} for plan in plans]
    assert [len(each) for each in ids] == [4] * len(texts)
    assert len(set.union(*ids)) == 4 * len(texts)
    plain = {frozenset(cell.id for cell in plan.cells if cell.method.name == "lora") for plan in plans}
    assert len(plain) == 1
    spelt = changed(8, 15, "    params: {temperature: 2}", *LINES[7:8], *LINES[9:14])
    assert {cell.id for cell in taught(plan_text(spelt))} == ids[0]


def test_a_teacher_s_cell_is_that_of_its_method_on_the_same_labels(plan_text: Callable[[str], Plan]) -> None:
    own = "  - {name: finetune, params: {epochs: 3}}"
    same = "  backbones: [{name: resnet18, width: 32, pretrain: {method: supervised, dataset: glyphs}}]"
    plan = plan_text(GOOD + "\n".join([*LINES[3:5], own, same, *LINES[16:]]) + "\n")
    alone = {(cell.shots, cell.seed): cell for cell in plan.cells if cell.method.name == "finetune"}
    pupils = taught(plan)
    assert len(alone) == len(pupils) == 4
    for pupil in pupils:
        assert pupil.teacher == alone[pupil.shots, pupil.seed]
    assert all(cell.teacher is None for cell in alone.values())


def test_a_record_holds_the_teacher_s_recipe(plan_text: Callable[[str], Plan]) -> None:
    cell = taught(plan_text(GOOD))[0]
    told = cell.describe().params
    assert told["temperature"] == 2.0
    assert (told["teacher"]["method"], told["teacher"]["params"]) == ("finetune", {"epochs": 3})
    assert told["teacher"]["backbone"]["weights"]["kind"] == "pretrain"
    assert told["teacher"]["backbone"]["width"] == 32


def refused(plan: Plan) -> dict[Any, str]:
    return {entry.shots: entry.reason for entry in plan.not_applicable if entry.method.startswith("distillation")}


def test_a_teacher_meets_the_checks_that_every_backbone_and_method_meets(plan_text: Callable[[str], Plan]) -> None:
    leaks = plan_text(GOOD.replace("GLYPHS", "digits"))
    told = "its teacher: pre-training on digits read training labels of digits, more than 5 shots"
    assert refused(leaks) == {5: told}
    assert {cell.shots for cell in taught(leaks)} == {"full"}
    blind = plan_text(changed(9, 14, "      backbone: encoder"))
    assert set(refused(blind).values()) == {"its teacher: text backbones cannot read image data"}
    thrown_away = plan_text(changed(9, 9, "      method: from_scratch"))
    assert set(refused(thrown_away).values()) == {"its teacher: list the architecture with random weights"}
    episodic = plan_text(GOOD.replace("protocol: classification", "protocol: episodic"))
    assert "its teacher: finetune does not take part in episodic" in refused(episodic).values()


@pytest.mark.parametrize("part", ["teacher", "pre-training"])
def test_a_change_of_the_code_behind_a_teacher_makes_its_cells_stale(
    plan_text: Callable[[str], Plan], part: str
) -> None:
    plan = plan_text(GOOD)
    cell = taught(plan)[0]
    today, protocol = plan.code.marks(cell)
    assert cell in plan.status({cell.id: ResultInfo("done", today, protocol)}).done
    marks = today.split("+")
    assert len(marks) == 3, "of distillation, finetune and supervised"
    marks[1 if part == "teacher" else 2] = "older"
    assert plan.status({cell.id: ResultInfo("done", "+".join(marks), protocol)}).stale == [cell]
