"""``label:`` in a suite: what rows are called, which decides nothing else, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench.core.errors import UserError
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.planning.search_plan import planned_settings
from tlbench.store.artifacts import Artifacts
from tlbench.store.mlflow.planned_cells import settings_from_json, settings_to_json
from tlbench.suite.spec import BackboneSpec

GOOD = """\
name: named
baseline: linear_probe
grids:
- protocol: classification
  methods:
  - {name: linear_probe, label: Probe}
  - {name: knn, params: {temperature: 0.2}, label: cooler neighbours}
  - knn
  backbones:
  - {name: conv4, width: 8, label: small}
  - {name: conv4, width: 16}
  datasets: [digits]
  shots: [5]
"""


def read(text: str, folder: Path, decoded: Path) -> PreparedSuite:
    path = folder / "named.yaml"
    path.write_text(text)
    return prepare(path, Artifacts(decoded))


def test_rows_have_the_names_that_the_suite_gives(tmp_path: Path, decoded: Path) -> None:
    prepared = read(GOOD, tmp_path, decoded)
    settings = planned_settings(prepared.plan, prepared.searches)
    assert {(each.method, each.method_name) for each in settings} == {
        ("linear_probe", "Probe"),
        ("knn(temperature=0.2)", "cooler neighbours"),
        ("knn", ""),
    }
    assert {(each.backbone, each.backbone_name) for each in settings} == {
        ("conv4(width=8)/random", "small"),
        ("conv4(width=16)/random", ""),
    }
    assert settings_from_json(settings_to_json(settings)) == settings
    older = {key: value for key, value in settings_to_json(settings).items() if not key.endswith("_name")}
    assert {each.method_name for each in settings_from_json(older)} == {""}, "plans of before have no names"


def test_a_label_is_no_part_of_a_cell(tmp_path: Path, decoded: Path) -> None:
    bare = GOOD.replace(", label: Probe", "").replace(", label: cooler neighbours", "").replace(", label: small", "")
    named, plain = (read(text, tmp_path, decoded).plan for text in (GOOD, bare))
    assert [cell.id for cell in named.cells] == [cell.id for cell in plain.cells]
    assert BackboneSpec(name="conv4", label="small").key == BackboneSpec(name="conv4").key, "resolved once"
    assert [(c.method.key, c.backbone.key) for c in named.cells] == [
        (c.method.key, c.backbone.key) for c in plain.cells
    ]


def test_a_searched_row_and_one_whose_pre_training_varies_keep_their_names(tmp_path: Path, decoded: Path) -> None:
    text = GOOD.replace("width: 8,", "width: 8, pretrain: {method: supervised, dataset: glyphs},") + (
        "  seeds: 2\npretrain_seeds: 2\nsearch: {searcher: random, trials: 2}\n"
    )
    prepared = read(text.replace("- knn\n", "- {name: knn, label: neighbours}\n"), tmp_path, decoded)
    settings = planned_settings(prepared.plan, prepared.searches)
    assert {each.method_name for each in settings if each.method == "knn(tuned)"} == {"neighbours"}
    assert {each.backbone_name for each in settings if each.backbone.endswith("#varied")} == {"small"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("label: cooler neighbours", "label: Probe", "7: label 'Probe': linear_probe has this name already"),
        ("label: Probe", "label: knn", "6: label 'knn': knn has this name already, and linear_probe would have it too"),
        ("width: 16}", "width: 16, label: small}", "11: label 'small': conv4(width=8)/random has this name already"),
        (
            "- knn\n",
            "- {name: linear_probe, label: other}\n",
            "8: label 'other': linear_probe is called 'Probe' already",
        ),
        ("label: Probe", "label: 3", "6: "),
        ("label: Probe", 'label: " x"', "6: "),
        ("label: Probe", f"label: {'x' * 61}", "6: "),
        ("label: Probe", "lable: Probe", "6: unknown key 'lable'"),
    ],
)
def test_names_that_do_not_tell_rows_apart_are_refused(
    old: str, new: str, told: str, tmp_path: Path, decoded: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read(GOOD.replace(old, new), tmp_path, decoded)
    assert f"named.yaml:{told}" in str(caught.value)


def test_a_teacher_has_no_row_and_no_name(tmp_path: Path, decoded: Path) -> None:
    taught = "- {name: distillation, teacher: {backbone: {name: conv4, label: big}}}\n"
    with pytest.raises(UserError, match=r"named\.yaml:8: label: a teacher has no row"):
        read(GOOD.replace("- knn\n", taught), tmp_path, decoded)
