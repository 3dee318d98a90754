"""Descriptions of models of all kinds, and texts to predict for: read, or refused in a sentence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from outcomes import Outcomes, fuzz

from tlbench.inference.description import Description, read_description
from tlbench.inference.text_inputs import read_texts

MANY = pytest.param(5_000, marks=pytest.mark.slow)
GOOD = {
    "format": 1,
    "tlbench": "0.1.0",
    "modality": "text",
    "classes": ["a", "b"],
    "backbone": {"name": "n", "family": "f", "modality": "text", "label": "l", "recipe": {}, "made_for": 0},
    "network": {"head": "linear"},
    "texts": {"length": 8, "pad": 0},
    "calibration": {"temperature": 1.5, "examples": 3, "said": "x"},
    "weights": "00",
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def descriptions(draw: st.DrawFn) -> str:
    """A good description with up to two of its values replaced, as JSON; or its beginning."""
    stored: dict[str, Any] = copy.deepcopy(GOOD)
    for _ in range(draw(st.integers(0, 2))):
        place: dict[str, Any] = stored
        key = draw(st.sampled_from([*GOOD, "more"]))
        if isinstance(place.get(key), dict) and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from([*place, "more"]))
        place[key] = draw(VALUES)
    text = json.dumps(stored)
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 5)) == 0 else text


@pytest.mark.parametrize("examples", [200, MANY])
def test_odd_descriptions(tmp_path: Path, examples: int) -> None:
    def attempt(outcomes: Outcomes, text: str) -> None:
        (tmp_path / "tlbench.json").write_text(text)
        found = outcomes.of(lambda: read_description(tmp_path))
        assert found is None or isinstance(found, Description)

    fuzz(descriptions(), attempt, examples)


LINES = st.sampled_from(
    ["text", "id,text", "a", '"a', '"a,b"', "a,b", "", '{"text": "a"}', '{"text": 1}', "[1", "\x00", " "]
)


@pytest.mark.parametrize("examples", [300, MANY])
def test_odd_texts(tmp_path: Path, examples: int) -> None:
    endings = st.sampled_from([".csv", ".tsv", ".jsonl", ".txt", ".parquet", ".odd"])

    def attempt(outcomes: Outcomes, example: tuple[str, str]) -> None:
        ending, text = example
        (tmp_path / f"t{ending}").write_text(text)
        found = outcomes.of(lambda: list(read_texts(tmp_path / f"t{ending}")))
        assert found is None or all(each.name for each in found)

    fuzz(st.tuples(endings, st.lists(LINES, max_size=5).map("\n".join)), attempt, examples)
