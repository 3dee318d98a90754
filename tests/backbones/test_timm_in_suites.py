"""How a suite names timm's networks and weights: read, refused where wrong, and known to editors."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tlbench.cli.list import rows_of
from tlbench.core.errors import UserError
from tlbench.planning.catalog import full_catalog
from tlbench.suite.json_schema import schema
from tlbench.suite.load import loads
from tlbench.suite.spec import Suite, Weights
from tlbench.suite.yaml_source import parse

pytest.importorskip("timm")

SUITE = """
name: named
grids:
- protocol: classification
  methods: [linear_probe]
  datasets: [digits]
  backbones:
  - BACKBONE
"""


def read(backbone: str) -> Suite:
    return loads(SUITE.replace("BACKBONE", backbone), full_catalog(), "s.yaml")


@pytest.mark.parametrize(
    ("backbone", "weights"),
    [
        ("timm:test_resnet", Weights()),
        ('{name: "timm:test_resnet", image_size: 64}', Weights()),
        ('{name: "timm:test_resnet", weights: timm}', Weights(kind="timm", name="DEFAULT")),
        ('{name: "timm:test_resnet", weights: {timm: r160_in1k}}', Weights(kind="timm", name="r160_in1k")),
        ('{name: "timm:test_resnet", pretrain: {method: supervised, dataset: glyphs}}', Weights()),
    ],
)
def test_a_suite_names_a_network_and_its_weights(backbone: str, weights: Weights) -> None:
    spec = read(backbone).grids[0].backbones[0]
    assert (spec.name, spec.weights) == ("timm:test_resnet", weights)
    validator = jsonschema.Draft202012Validator(schema(full_catalog()))
    assert not list(validator.iter_errors(parse(SUITE.replace("BACKBONE", backbone), "s.yaml").value))


@pytest.mark.parametrize(
    ("backbone", "message", "hint"),
    [
        ("timm:test_resent", "s.yaml:8: unknown backbone 'timm:test_resent'", "'timm:test_resnet'"),
        ("tim:resnet18", "s.yaml:8: unknown backbone 'tim:resnet18'", ""),
        ('{name: "timm:test_resnet", weights: {timm: r160}}', "s.yaml:8: timm:test_resnet: timm has no", "'r160_in1k'"),
        (
            "{name: resnet18, weights: timm}",
            "s.yaml:8: resnet18: timm has no weights 'DEFAULT'",
            "weights: torchvision",
        ),
        ('{name: "timm:resnet18", weights: tim}', "timm, {timm: NAME}, torchvision,", "did you mean 'timm'?"),
        ('{name: "timm:resnet18", weights: {timm: 3}}', "s.yaml:8: weights: must be random", ""),
        ('{name: "timm:resnet18", stem: small}', "s.yaml:8: timm:resnet18: unknown key 'stem'", ""),
    ],
)
def test_mistakes_are_told_with_their_line(backbone: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        read(backbone)
    assert message in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["timm:", "tim:resnet18"])
def test_editors_know_the_prefix(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(full_catalog()))
    suite: Any = parse(SUITE.replace("BACKBONE", f'"{name}"'), "s.yaml").value
    assert list(validator.iter_errors(suite))


def test_the_list_has_one_line_for_all_of_timm() -> None:
    lines = [(name, about) for name, about in rows_of("backbones") if name.startswith("timm")]
    assert [name for name, _ in lines] == ["timm:NAME"]
    assert "{timm: TAG}" in lines[0][1]
