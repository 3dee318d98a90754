"""The JSON Schema accepts what the loader accepts and refuses the common mistakes at the right place."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tlbench.suite.catalog import Catalog
from tlbench.suite.json_schema import schema
from tlbench.suite.yaml_source import parse

GRID = "{protocol: classification, methods: [linear_probe], backbones: [conv4], datasets: [digits], MORE}"


def _faults(catalog: Catalog, text: str) -> list[Any]:
    validator = jsonschema.Draft202012Validator(schema(catalog))
    return list(validator.iter_errors(parse(text, "f").value))


def test_it_is_a_schema(catalog: Catalog) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(catalog))


@pytest.mark.parametrize(
    "text",
    [
        "name: x\ngrids: [" + GRID.replace("MORE", "shots: [1, full], seeds: 3") + "]\n",
        "name: x\ngrids: [" + GRID.replace("MORE", "seeds: [1, 2]") + "]\nlimits: {gpu_hours: 1}\n",
        "name: x\ngrids:\n- protocol: episodic\n  methods: [protonet, {name: lora, params: {rank: 2}}]\n"
        "  backbones:\n  - {name: conv4, width: 8, pretrain: {method: simclr, dataset: {name: folder, path: a}}}\n"
        "  - {name: resnet18, weights: {torchvision: DEFAULT}}\n"
        "  - name: resnet18\n    weights: torchvision\n    pretrain:\n      method: simclr\n      dataset: digits\n"
        "      after: {method: supervised, dataset: glyphs, params: {epochs: 3}}\n"
        "  datasets: [{name: folder, path: b}]\n  ways: 5\n"
        "search: {trials: 3, space: {lora: {rank: {choice: [1]}}}}\nresources: {gpus: 1}\n",
    ],
)
def test_good_suites_pass(catalog: Catalog, text: str, read_suite: Any) -> None:
    read_suite(text)
    assert not _faults(catalog, text)


@pytest.mark.parametrize(
    "change",
    [
        ("MORE", "ways: 5"),
        ("MORE", "shots: [0]"),
        ("MORE", "seeds: 0"),
        ("MORE", "options: {}"),
        ("classification", "clasification"),
        ("[linear_probe]", "[linear_prob]"),
        ("[linear_probe]", "[{name: lora, params: {rnk: 3}}]"),
        ("[linear_probe]", "[{name: lora, params: {rank: 0}}]"),
        ("[linear_probe]", "[]"),
        ("[conv4]", "[conv5]"),
        ("[conv4]", "[{name: conv4, pretrain: {method: simclr, dataset: digits, after: simclr}}]"),
        ("[conv4]", "[{name: conv4, pretrain: {method: lora, dataset: digits}}]"),
        ("[digits]", "[digit]"),
    ],
)
def test_mistakes_are_refused_by_schema_and_loader_alike(
    catalog: Catalog, change: tuple[str, str], read_suite: Any
) -> None:
    text = "name: x\ngrids:\n- " + GRID.replace(*change).replace(", MORE", "") + "\n"
    assert _faults(catalog, text)
    with pytest.raises(Exception, match=r"s\.yaml:3: "):
        read_suite(text)


def test_it_names_every_choice_and_every_parameter(catalog: Catalog) -> None:
    text = str(schema(catalog))
    for name in (*catalog.methods, *catalog.protocols, *catalog.datasets, *catalog.backbones, "rank", "ways"):
        assert f"'{name}'" in text
