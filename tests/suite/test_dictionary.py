"""Suites as dictionaries and typed objects: they say what files say, and mistakes are named by keys."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from tlbench.core.errors import UserError
from tlbench.core.validation import check
from tlbench.planning.catalog import full_catalog
from tlbench.suite.dictionary import dictionary_source
from tlbench.suite.load import load_source
from tlbench.suite.normal_form import normal_form
from tlbench.suite.spec import BackboneSpec, DatasetSpec, Grid, MethodSpec, Suite, Weights
from tlbench.suite.written_form import written_form
from tlbench.suite.yaml_source import parse
from tlbench.suite.yaml_source import read as load_yaml

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("*.yaml"))
GRID: dict[str, Any] = {
    "protocol": "classification",
    "methods": ["knn"],
    "backbones": [{"name": "conv4", "width": 8}],
    "datasets": ["digits"],
}


def read(suite: dict[str, Any]) -> Suite:
    return load_source(dictionary_source(suite), Path.cwd(), full_catalog())


def grid(**changes: Any) -> dict[str, Any]:
    return {"name": "small", "grids": [GRID | changes]}


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_shipped_suite_is_the_same_as_typed_objects(path: Path) -> None:
    catalog = full_catalog()
    suite, _ = check(Suite, normal_form(load_yaml(path).value, catalog))
    assert suite is not None
    again, _ = check(Suite, normal_form(dictionary_source(written_form(suite)).value, catalog))
    assert again == suite


def test_typed_objects_may_name_things_alone() -> None:
    typed = Suite(
        name="small",
        grids=[
            Grid(
                protocol="classification",
                methods=["knn", MethodSpec(name="finetune", params={"epochs": 3}, label="All of it")],
                backbones=[
                    BackboneSpec(name="conv4", params={"width": 8}, label="small"),
                    BackboneSpec(name="resnet18", weights=Weights(kind="torchvision", name="IMAGENET1K_V1")),
                ],
                datasets=["digits", DatasetSpec(name="glyphs", params={"scripts": ["Latin"]})],
                shots=[1, "full"],
                seeds=range(3),
                options={"validation": "none"},
            )
        ],
    )
    said = written_form(typed)
    assert said["grids"][0]["validation"] == "none"
    assert said["grids"][0]["backbones"][1]["weights"] == {"torchvision": "IMAGENET1K_V1"}
    assert said["grids"][0]["seeds"] == [0, 1, 2]
    assert (said["grids"][0]["methods"][1]["label"], said["grids"][0]["backbones"][0]["label"]) == (
        "All of it",
        "small",
    )
    assert "label" not in said["grids"][0]["methods"][0]
    assert "shots" not in written_form(Suite(name="s", grids=[Grid(**GRID | {"backbones": ["conv4"]})]))["grids"][0]


def test_what_python_has_and_yaml_has_not_is_taken() -> None:
    suite = read(
        grid(shots=(1, np.int64(5)), seeds=range(2, 4), datasets=[{"name": "folder", "path": PurePosixPath("a/b")}])
    )
    assert suite.grids[0].shots == (1, 5)
    assert suite.grids[0].seeds == (2, 3)
    assert suite.grids[0].datasets[0].params == {"path": "a/b"}
    rate = {"name": "finetune", "params": {"lr": np.float64(1e-5)}}
    assert read(grid(methods=[rate])).grids[0].methods[0].params == {"lr": 1e-5}


def test_the_text_of_a_dictionary_is_a_suite_file_that_says_the_same() -> None:
    odd = grid(datasets=[{"name": "folder", "path": "1e3: #no, 'yes' ~ \"é\" null\n\ttrue"}], shots=[1])
    odd["grids"][0]["methods"] = [{"name": "finetune", "params": {"lr": 1e-05, "weight_decay": 1e22}}]
    source = dictionary_source(odd)
    assert parse(source.text, "file").value == source.value == odd


@pytest.mark.parametrize(
    ("suite", "message", "hint"),
    [
        (grid(methods=["knn", "lorra"]), "suite.grids[0].methods[1]: unknown method 'lorra'", "'lora'"),
        (grid(methods=[{"name": "lorra"}]), "suite.grids[0].methods[0].name: unknown method 'lorra'", "'lora'"),
        (grid(shots=[1, -1]), "suite.grids[0].shots[1]: ", ""),
        (grid(shot=[1]), "suite.grids[0].shot: unknown key 'shot'", "'shots'"),
        ({"grids": [GRID]}, "suite: 'name' is missing", ""),
        (grid() | {"grids": []}, "suite.grids: grids: must not be empty", ""),
        (grid() | {"baseline": "kn"}, "suite.baseline: baseline 'kn': no grid lists it", "'knn'"),
        (grid(methods=[{"name": "knn", "params": {"k": object()}}]), "suite.grids[0].methods[0].params.k: must be", ""),
        (grid(methods={"knn"}), "suite.grids[0].methods: must be a text, a number, true or false, a list", ""),
        (grid(shots=[float("nan")]), "suite.grids[0].shots[0]: nan is not a finite number", ""),
        (grid(seeds=2**70), "suite.grids[0].seeds: a number too large to be meant", ""),
        (grid(datasets=["\ud800"]), "suite.grids[0].datasets[0]: half a character", ""),
        ({1: 2}, "suite: a key must be a text, not 1", ""),
    ],
)  # fmt: skip
def test_mistakes_are_named_by_the_keys_that_lead_to_them(suite: dict[Any, Any], message: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        read(suite)
    assert error.value.message.startswith(message)
    assert hint in error.value.hint


def test_several_mistakes_are_told_in_the_order_of_the_dictionary() -> None:
    with pytest.raises(UserError) as error:
        read({"name": "small", "grids": [GRID | {"methods": ["zzz"], "datasets": ["diggits"]}], "limit": {}})
    places = [line.split(": ")[0] for line in str(error.value).splitlines() if line.startswith("suite")]
    assert places == ["suite.grids[0].methods[0]", "suite.grids[0].datasets[0]", "suite.limit"]


def test_a_dictionary_that_holds_itself_is_refused() -> None:
    suite = grid()
    suite["grids"].append(suite)
    with pytest.raises(UserError, match="nested too deeply"):
        read(suite)
