"""What is read from a run's attached record."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import results, run
from plausible import make_record

from tlbench.core.record import Outcome, pack_bits, pack_classes
from tlbench.report.built_sections import build_sections
from tlbench.report.html import html
from tlbench.report.report_data import build_report
from tlbench.store.mlflow.record_artifact import parse_details, read_details


def test_a_record_comes_back(tmp_path: Path) -> None:
    right = np.random.default_rng(0).random(203) < 0.7
    outcome = Outcome(
        scores={"accuracy": 0.7},
        curves={"train_loss": [(0, 2.5), (1, 1.5)]},
        tests=203,
        group=7,
        correct=pack_bits(np.packbits(right).tobytes()),
        notes=("slow",),
    )
    record = make_record("c").model_copy(update={"outcome": outcome})
    (tmp_path / "record.json").write_text(record.model_dump_json())
    for place in (str(tmp_path), tmp_path.as_uri()):
        found = read_details(place)
        assert found is not None
        assert found.curves == {"train_loss": ((0, 2.5), (1, 1.5))}
        assert found.correct is not None
        np.testing.assert_array_equal(found.correct, right)
        assert (found.tests, found.group, found.notes, found.traceback) == (203, 7, ("slow",), "")
        assert found.classes is None


def test_classes_of_the_tests_come_back() -> None:
    outcome = Outcome(scores={}, tests=4, group=2, test_classes=pack_classes([7, 400, 7, 65_535]))
    record = make_record("c").model_copy(update={"outcome": outcome})
    found = parse_details(record.model_dump_json().encode())
    assert found is not None
    assert found.classes is not None
    assert found.classes.tolist() == [7, 400, 7, 65_535]
    assert replace(found, tests=5).classes is None, "of another number of tests"
    assert replace(found, bits="%").correct is None


def test_a_failure_has_its_traceback_and_no_answers() -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback"}
    found = parse_details(json.dumps({"outcome": None, "error": error}).encode())
    assert found is not None
    assert (found.traceback, found.correct) == ("Traceback", None)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"outcome": 3, "error": null}', b'{"outcome": {"curves": [1]}}'])
def test_what_is_no_record_is_passed_over(text: bytes) -> None:
    assert parse_details(text) is None


@pytest.mark.parametrize("place", ["", "/nowhere/at/all", "s3://bucket/run", "mlflow-artifacts:/1/2/artifacts"])
def test_what_lies_elsewhere_is_not_asked_for(place: str) -> None:
    assert read_details(place) is None


@pytest.mark.parametrize(("place", "hint"), [("http://host:5000", True), ("postgresql://host/runs", False)])
def test_the_page_says_what_was_left_unread_and_how_to_get_it(place: str, hint: bool) -> None:
    made = replace(results([run("a", 0.5), run("b", 0.6)]), place=place)
    cut = replace(made, unread=97_000)
    whole, told = (
        html(report, list(build_sections(report))).text for report in (build_report(made), build_report(cut))
    )
    assert "left unread" not in whole
    assert told.count("The records of 97,000 runs were left unread") == 2
    assert told.count("<code>tlbench cell ID</code>") == 2
    assert ("reads ten times as many" in told) == hint
