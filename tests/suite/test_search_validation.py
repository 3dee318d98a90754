"""What a search of an adaptation may be decided by: refused at its line where nothing could be, and noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_suites import PLAIN

from tlbench.core.errors import UserError
from tlbench.planning.catalog import full_catalog
from tlbench.planning.prepare import prepare
from tlbench.stats.validators import VALIDATORS
from tlbench.store.artifacts import Artifacts
from tlbench.suite.load import loads
from tlbench.suite.search_validation import ends_no_trial
from tlbench.suite.spec import Suite

ADAPTING = """\
  - protocol: adaptation
    methods: [{name: source_only, params: {steps: 4, checks: 2}}]
    backbones: [conv4]
    datasets: [{source: {name: rendered_digits, images: 420}, target: digits}]
    validator: VALIDATOR
"""
PLAINLY = """\
  - {protocol: classification, methods: [finetune], backbones: [conv4], datasets: [digits], shots: [5]}
"""


def text(validator: str = "information", more: str = PLAINLY, **search: Any) -> str:
    """A suite of an adaptation, whose validator stands in line 7, and another grid; the search is the last line."""
    settings = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in ({"trials": 2} | search).items())
    return f"name: decided\ngrids:\n{ADAPTING.replace('VALIDATOR', validator)}{more}search:\n{settings}"


def suite(*args: Any, **search: Any) -> Suite:
    return loads(text(*args, **search), full_catalog(), "s.yaml")


def refused(*args: Any, **search: Any) -> str:
    with pytest.raises(UserError) as caught:
        suite(*args, **search)
    return str(caught.value)


def test_what_says_the_same_of_every_trial_decides_no_search() -> None:
    said = refused("last")
    assert said.startswith("s.yaml:7: validator: last says the same of every trial")
    assert said.endswith("with search: " + ", ".join(name for name in VALIDATORS if name != "last"))
    assert "s.yaml:10" not in refused("last", objective="accuracy_and_cost")
    assert loads(text("last").partition("search:")[0], full_catalog(), "s.yaml").search is None
    fixed = suite("last", declared=False, space={"finetune": {"lr": {"choice": [0.1, 0.2]}}})
    assert fixed.grids[0].options == {"validator": "last"}, "nothing of that grid is searched"


@pytest.mark.parametrize("validator", sorted(set(VALIDATORS) - {"last"}))
def test_cost_is_weighed_against_points_of_accuracy_only(validator: str) -> None:
    assert suite(validator).search is not None
    if validator == "source_accuracy":
        assert suite(validator, objective="accuracy_and_cost").search is not None
        return
    said = refused(validator, objective="accuracy_and_cost")
    assert said.startswith("s.yaml:11: objective: accuracy_and_cost is for trials within a point of accuracy")
    assert f"but {validator} decides in adaptation" in said
    assert "validator: source_accuracy" in said


def test_the_validator_that_nobody_named_counts() -> None:
    unnamed = text(objective="accuracy_and_cost").replace("    validator: information\n", "")
    with pytest.raises(UserError) as caught:
        loads(unnamed, full_catalog(), "s.yaml")
    assert "s.yaml:10: objective" in str(caught.value)
    assert "nuclear_norm decides in adaptation" in str(caught.value)


@pytest.mark.parametrize("scheduler", ["asha", "median", None])
def test_a_scheduler_that_can_end_no_trial_is_noted_once(scheduler: str | None) -> None:
    search = {} if scheduler is None else {"scheduler": scheduler}
    (note,) = ends_no_trial(suite("entropy", ADAPTING.replace("VALIDATOR", "information"), **search), full_catalog())
    assert note.startswith(f"adaptation: scheduler: {scheduler or 'asha'} ends no trial early")


def test_there_is_no_such_note_where_none_is_needed() -> None:
    names = full_catalog()
    for scheduler in ("none", "pbt"):
        assert ends_no_trial(suite(scheduler=scheduler), names) == ()
    assert ends_no_trial(suite(declared=False, space={"finetune": {"lr": {"choice": [0.1]}}}), names) == ()
    plain = f"name: plain\ngrids:\n{PLAINLY}search: {{trials: 2}}\n"
    assert ends_no_trial(loads(plain, names), names) == ()
    assert ends_no_trial(loads(text().partition("search:")[0], names), names) == ()


def test_the_note_reaches_whoever_runs_the_suite(tmp_path: Path, decoded: Path) -> None:
    path = tmp_path / "decided.yaml"
    small = json.dumps({**PLAIN, "image_size": 16})
    path.write_text(text(more="").replace("[conv4]", f"[{small}]"))
    warnings = prepare(path, Artifacts(decoded)).warnings
    assert [each for each in warnings if "ends no trial early" in each] == [warnings[-1]]
