"""Suites as dictionaries with odd values anywhere: read as files are, or refused with the keys that are to blame."""

from __future__ import annotations

import copy
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from odd_suites import PLAIN
from outcomes import Outcomes, fuzz

from tlbench.planning.catalog import full_catalog
from tlbench.suite.dictionary import dictionary_source
from tlbench.suite.load import load_source, loads

MANY = pytest.param(10_000, marks=pytest.mark.slow)
_ODD = st.sampled_from(
    [
        None, True, 0, -1, 2**70, 0.5, float("nan"), float("inf"), "", "knn", "1e3", "\ud800", "a\0b", b"bytes", [], {},
        (), {"name": "knn"}, {1: 2}, {"\ud800": 1}, {"a", "b"}, range(3), range(0), np.int64(3), np.float32(0.5),
        np.array([1, 2]), PurePosixPath("x"), object(), print, 1j, [[[[[]]]]], "~", "null", "- a: b",
    ]
)  # fmt: skip


@st.composite
def dictionaries(draw: st.DrawFn) -> dict[Any, Any]:
    """Draw a suite in which up to three values, or keys, have been replaced."""
    suite = json.loads(PLAIN)
    for _ in range(draw(st.integers(0, 3))):
        here: Any = suite
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(here[key], dict | list) and here[key] and draw(st.booleans()):
                here = here[key]
                continue
            here[key] = copy.copy(draw(_ODD))
            break
    return suite


@pytest.mark.parametrize("examples", [300, MANY])
def test_any_dictionary_is_read_as_its_text_is_or_refused_by_its_keys(examples: int) -> None:
    catalog = full_catalog()

    def attempt(outcomes: Outcomes, given: dict[Any, Any]) -> None:
        suite = outcomes.of(lambda: load_source(dictionary_source(given), Path.cwd(), catalog))
        if suite is None:
            assert outcomes.refusals[-1].message.startswith("suite"), outcomes.refusals[-1].message
            return
        assert loads(dictionary_source(given).text, catalog) == suite

    fuzz(dictionaries(), attempt, examples)
