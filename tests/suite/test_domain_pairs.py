"""How a suite lists pairs of a source and a target, and the shots that only adaptation can do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from tlbench.core.cell import DatasetChoice, Pretrain
from tlbench.core.errors import UserError
from tlbench.suite.catalog import Catalog
from tlbench.suite.domain_pairs import every_pair, expand_datasets, one_pair, split_pair
from tlbench.suite.expand import expand
from tlbench.suite.json_schema import schema
from tlbench.suite.plan import Plan
from tlbench.suite.resolve import choose_method
from tlbench.suite.spec import DatasetSpec, Suite
from tlbench.suite.yaml_source import parse

SUITE = """\
name: x
grids:
  - protocol: {protocol}
    methods: [{method}]
    backbones: [conv4]
    datasets:
      - {dataset}
    {more}
"""
GOOD = [
    "{source: glyphs, target: digits}",
    "{name: pair, source: glyphs, target: {name: folder, path: a, domain: b}}",
    "{name: glyphs, pairs: all}",
    "{name: folder, path: a, pairs: ['day -> night', 'night -> day']}",
    "{name: folder, path: a, pairs: leave_one_out}",
    "{source: {name: folder, path: a, domain: [b, c]}, target: {name: folder, path: a, domain: d}}",
]


def text(
    dataset: str = GOOD[0], protocol: str = "adaptation", method: str = "source_only", more: str = "seeds: 2"
) -> str:
    return SUITE.format(protocol=protocol, method=method, dataset=dataset, more=more)


def faults(catalog: Catalog, suite: str) -> list[Any]:
    return list(jsonschema.Draft202012Validator(schema(catalog)).iter_errors(parse(suite, "f").value))


@pytest.mark.parametrize("dataset", GOOD)
def test_good_pairs(catalog: Catalog, read_suite: Callable[[str], Suite], dataset: str) -> None:
    (spec,) = read_suite(text(dataset)).grids[0].datasets
    assert (spec.name == "pair") == (spec.pairs is None)
    assert not faults(catalog, text(dataset))


def test_a_pair_is_one_dataset_with_two_sides(read_suite: Callable[[str], Suite]) -> None:
    (spec,) = read_suite(text(GOOD[0])).grids[0].datasets
    assert (spec.name, spec.params) == ("pair", {"source": "glyphs", "target": "digits"})


def test_listed_pairs_become_datasets_of_their_own(read_suite: Callable[[str], Suite]) -> None:
    suite = read_suite(text("digits\n      - " + GOOD[3] + "\n      - " + GOOD[2], "classification", "lora"))
    asked: list[tuple[str, int, int]] = []

    def datasets_of(spec: DatasetSpec, g: int, d: int) -> list[DatasetSpec]:
        asked.append((spec.name, g, d))
        if spec.pairs is None:
            return [spec]
        named = every_pair(("A", "B", "C")) if spec.pairs == "all" else [split_pair(pair) for pair in spec.pairs]
        return [one_pair(spec, *names) for names in named]

    found = expand_datasets(suite, datasets_of).grids[0].datasets
    assert asked == [("digits", 0, 0), ("folder", 0, 1), ("glyphs", 0, 2)]
    assert len(found) == 1 + 2 + 6
    assert found[0] == suite.grids[0].datasets[0]
    side = {"name": "folder", "params": {"path": "a"}}
    assert found[1].params == {"source": {**side, "domain": "day"}, "target": {**side, "domain": "night"}}
    named = [(spec.params["source"]["domain"], spec.params["target"]["domain"]) for spec in found[3:]]
    assert named == [("A", "B"), ("A", "C"), ("B", "A"), ("B", "C"), ("C", "A"), ("C", "B")]
    assert len({spec.key for spec in found}) == len(found)


@pytest.mark.parametrize(
    ("given", "line", "said"),
    [
        ({"dataset": "digits"}, 7, "adaptation needs a source and a target, but digits is one dataset\n  write {"),
        ({"dataset": "{name: glyphs, pairs: some}"}, 7, "pairs: must be all, leave_one_out, or a list like [\"A -> "),
        ({"dataset": "{name: glyphs, pairs: [A->B]}"}, 7, "pairs: must be all, leave_one_out, or a list like"),
        ({"dataset": "{name: glyphs, pairs: []}"}, 7, "pairs: must be all, leave_one_out, or a list like"),
        ({"dataset": "{name: glyphs, pairs: [[A, B]]}"}, 7, "pairs: must be all, leave_one_out, or a list like"),
        ({"dataset": "{source: glyphs, target: digits, pairs: all}"}, 7, "pairs: what has a source and a target is"),
        ({"dataset": "{name: glyph, pairs: all}"}, 7, "unknown dataset 'glyph'\n  did you mean 'glyphs'?"),
        ({"more": "shots: [0, -1]"}, 8, "shots: must be a whole number of 0 or more, or full, not -1"),
        ({"more": "shots: [0, 0]"}, 8, "shots: lists 0 twice"),
        (
            {"protocol": "classification", "method": "lora", "more": "shots: [0]"},
            8,
            "shots: must be a whole number of 1 or more, or full, not 0",
        ),
        (
            {"protocol": "episodic", "method": "protonet", "dataset": "digits", "more": "shots: [0]"},
            8,
            "shots: must be a whole number of 1 or more, or full, not 0",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_refused_at_their_line(
    read_suite: Callable[[str], Suite], given: dict[str, str], line: int, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_suite(text(**given))
    assert f"s.yaml:{line}: {said}" in str(caught.value)


def test_pre_training_reads_one_dataset(read_suite: Callable[[str], Suite]) -> None:
    conv4 = "{name: conv4, pretrain: {method: simclr, dataset: {name: glyphs, pairs: all}}}"
    with pytest.raises(UserError, match=r"s\.yaml:5: pairs: pre-training reads one dataset"):
        read_suite(text().replace("[conv4]", f"[{conv4}]"))


@pytest.mark.parametrize(
    "given",
    [
        {"dataset": "{source: glyphs}"},
        {"dataset": "{source: glyphs, target: digit}"},
        {"dataset": "{source: glyphs, target: digits, pairs: all}"},
        {"dataset": "{name: glyphs, pairs: some}"},
        {"dataset": "{name: glyphs, pairs: [A->B]}"},
        {"dataset": "{name: glyphs, pairs: []}"},
        {"protocol": "classification", "method": "lora", "more": "shots: [0]"},
        {"more": "shots: [-1]"},
    ],
)
def test_the_schema_refuses_them_too(catalog: Catalog, given: dict[str, str]) -> None:
    assert faults(catalog, text(**given))


def test_without_shots_adaptation_is_unsupervised(catalog: Catalog, read_suite: Callable[[str], Suite]) -> None:
    assert read_suite(text()).grids[0].shots == (0,)
    assert read_suite(text(more="shots: [0, 3, full]")).grids[0].shots == (0, 3, "full")
    assert read_suite(text("digits", "classification", "lora")).grids[0].shots == ("full",)
    for shots in ("[0]", "[0, 3, full]"):
        assert not faults(catalog, text(more=f"shots: {shots}"))
    (adaptation,) = [b["then"] for b in schema(catalog)["$defs"]["Grid"]["allOf"] if "adaptation" in str(b["if"])]
    assert adaptation["properties"]["shots"]["default"] == [0]


def test_labels_of_the_target_spent_in_pre_training_are_counted(
    catalog: Catalog, read_suite: Callable[[str], Suite], resolve_suite: Any
) -> None:
    """Under any name: those of the target itself, of another pair with the same target, and of it at another size."""
    suite = read_suite(text(more="shots: [0, full]"))
    datasets, backbones = resolve_suite(suite)
    (key, pair), (conv4,) = next(iter(datasets.items())), backbones.values()
    digits, glyphs = (replace(pair, info=replace(pair.info, name=n, fingerprint=n)) for n in ("digits", "glyphs"))
    other = replace(pair, info=replace(pair.info, fingerprint="other", target="digits"))
    larger = replace(glyphs, info=replace(glyphs.info, origin="here"))
    datasets[key] = replace(pair, info=replace(pair.info, target="digits", origin="here"))

    def planned(corpus: DatasetChoice, labels: bool = True) -> Plan:
        run = Pretrain(choose_method("supervised", {}, catalog), corpus, conv4, 0, labels)
        return expand(suite, catalog, datasets, {name: replace(conv4, pretrain=run) for name in backbones})

    for corpus in (digits, other, larger):
        plan = planned(corpus)
        assert [entry.reason for entry in plan.not_applicable] == [
            f"pre-training on {corpus.info.name} read training labels of the target of pair, more than 0 shots"
        ]
        assert {cell.shots for cell in plan.cells} == {"full"}
    assert not planned(glyphs).not_applicable
    assert not planned(digits, labels=False).not_applicable
