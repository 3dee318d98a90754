"""Suites with mistakes of all kinds: read as they are meant, or refused with the file and a line of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from odd_suites import CHEAP, suite_files
from outcomes import Outcomes, fuzz

from tlbench.core.errors import UserError
from tlbench.planning.catalog import full_catalog
from tlbench.planning.prepare import prepare
from tlbench.store.artifacts import Artifacts
from tlbench.suite.load import load

MANY = pytest.param(6000, marks=pytest.mark.slow)


@pytest.mark.parametrize("examples", [200, MANY])
def test_any_suite_file_is_read_or_refused_with_its_line(pictures: Path, decoded: Path, examples: int) -> None:
    here, artifacts, catalog = pictures, Artifacts(decoded), full_catalog()

    def attempt(outcomes: Outcomes, content: bytes) -> None:
        file = here / "odd.yaml"
        file.write_bytes(content)
        suite = outcomes.of(lambda: load(file, catalog))
        if suite is None:
            _names_a_line(outcomes.refusals[-1], file, content)
            return
        assert load(file, catalog) == suite
        if {spec.name for spec in suite.datasets.values()} <= CHEAP and len(suite.grids) < 4:
            outcomes.counts["planned"] += 1
            prepared = outcomes.of(lambda: prepare(file, artifacts))
            if prepared is not None:
                assert prepared.plan.cells or prepared.plan.not_applicable
                assert len({cell.id for cell in prepared.plan.cells}) == len(prepared.plan.cells)
                again = prepare(file, artifacts)
                assert [cell.id for cell in again.plan.cells] == [cell.id for cell in prepared.plan.cells]

    fuzz(suite_files(), attempt, examples)


def _names_a_line(error: UserError, file: Path, content: bytes) -> None:
    named = re.match(rf"{re.escape(str(file))}:(\d+): ", error.message)
    assert named, error.message
    lines = len(re.split(rb"\r\n|[\r\n\x85]|\xe2\x80\xa8|\xe2\x80\xa9", content))
    assert 1 <= int(named[1]) <= lines, error.message
