from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st
from plausible import STARTED, describe, make_record

from tlbench.core.description import Trial
from tlbench.core.not_applicable import NotApplicable
from tlbench.core.record import STOPPED, Outcome, Record
from tlbench.core.segments import Segment
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.stored_experiment import StoredExperiment, StoredPlan, StoredRun


def test_a_finished_record_has_the_names_that_readers_know() -> None:
    record = make_record("c" * 20, epochs=2, seed=3)
    assert record.cell.label == "linear_probe | conv4/random | digits | 5 shots | seed 3"
    assert layout.times(record) == (1000 * STARTED, 1000 * STARTED + 3500)
    tags, params = layout.tags(record), layout.params(record)
    assert tags["tlbench.cell"] == "c" * 20
    assert tags["tlbench.digest"] == record.digest
    assert tags["tlbench.status"] == "done"
    assert tags["tlbench.provenance.torch"] == "2.15.0"
    assert "tlbench.error" not in tags
    assert params["shots"] == "5"
    assert params["seed"] == "3"
    assert params["weights"] == "random"
    assert params["option.val_fraction"] == "0.2"
    assert params["param.p3"] == "1.5"
    points = {(key, step): value for key, value, step in layout.metrics(record)}
    assert points["test/accuracy", 0] == 0.8
    assert points["validation/nll", 0] == 0.72
    assert points["cost/seconds", 0] == 3.5
    assert points["footprint/trainable", 0] == 650
    assert points["tests", 0] == 540
    assert points["curve/train_loss", 1] == 0.5
    assert ("cost/started", 0) not in points


def test_a_failed_record_tells_why_and_what_it_cost() -> None:
    record = make_record("c", failed=True)
    assert layout.tags(record)["tlbench.error"] == "ValueError: no such thing"
    assert {point.key.partition("/")[0] for point in layout.metrics(record)} == {"cost"}


def test_a_transductive_record_says_so_and_others_say_nothing() -> None:
    record = make_record("c")
    assert record.outcome is not None
    apart = record.model_copy(update={"outcome": record.outcome.model_copy(update={"transductive": True})})
    assert layout.tags(apart) == layout.tags(record) | {
        "tlbench.transductive": "true",
        "tlbench.digest": apart.digest,
    }
    assert apart.digest != record.digest
    assert "tlbench.transductive" not in layout.tags(record)
    assert "tlbench.transductive" not in layout.tags(make_record("c", failed=True))


def test_a_stored_run_has_the_facts_of_its_record() -> None:
    record = make_record("c" * 20, seed=3)
    run = read_back(record)
    assert (run.cell, run.digest, run.error) == (record.id, record.digest, "")
    assert run.is_complete
    assert {run.is_trial, run.is_search, run.is_winner, run.is_transductive, run.is_oracle} == {False}
    assert json.loads(run.options) == {"min_val": "1", "val_fraction": "0.2"}
    assert json.loads(run.method_params)["p3"] == "1.5"
    assert (run.provenance["torch"], run.provenance["workers"]) == ("2.15.0", "1")
    failed = read_back(make_record("c", failed=True))
    assert failed.error == "ValueError: no such thing"
    assert not StoredRun("r", "FINISHED", 0.0, tags=run.tags).is_complete, "its parameters are missing"


def test_a_stored_trial_has_the_facts_of_its_record() -> None:
    one = make_record("c")
    trial = Trial("key", 4, {"lr": 0.1}, (Segment(3, {"lr": 0.2}), Segment(9, {"lr": 0.1})), parent=2)
    assert one.outcome is not None
    stopped = one.outcome.model_copy(update={"selected": {STOPPED: 3}})
    run = read_back(one.model_copy(update={"cell": one.cell.model_copy(update={"trial": trial}), "outcome": stopped}))
    assert (run.is_trial, run.trial_number, run.search_key, run.was_stopped) == (True, 4, "key", True)
    assert json.loads(run.trial_values) == {"lr": 0.1}
    assert json.loads(run.trial_segments) == [[3, {"lr": 0.2}], [9, {"lr": 0.1}]]
    user = read_back(one.model_copy(update={"cell": one.cell.model_copy(update={"winner": trial})}))
    assert (user.is_trial, user.search_key) == (False, "key")


def test_a_stored_plan_comes_back_and_a_damaged_one_is_none() -> None:
    left_out = NotApplicable(2, "r", "w")
    stored = StoredExperiment(layout.experiment_tags("b", "name: s", 9, [left_out]), ())
    assert (stored.baseline, stored.suite_text, stored.plan) == ("b", "name: s", StoredPlan(9, (left_out,)))
    assert StoredExperiment({layout.PLAN_TAG: '{"cells": 9 ... [cut'}, ()).plan == StoredPlan()
    assert StoredExperiment({}, ()).plan == StoredPlan()


def read_back(record: Record) -> StoredRun:
    """Return the run that a reader makes of what the writer stored of a record."""
    metrics = {point.key: point.value for point in layout.metrics(record)}
    return StoredRun("r", "FINISHED", 0.0, layout.params(record), layout.tags(record), metrics)


def test_what_is_not_a_number_is_left_to_the_artifact() -> None:
    record = make_record("c")
    curves = {"loss": [(0, float("nan")), (1, float("inf")), (2, 1.0), (2, 2.0)]}
    outcome = Outcome.model_construct(**(dict(record.outcome or {}) | {"curves": curves}))
    points = layout.metrics(record.model_construct(**(dict(record) | {"outcome": outcome})))
    assert [point for point in points if point.key == "curve/loss"] == [("curve/loss", 2.0, 2)]


def test_long_values_keep_to_the_limit_and_stay_apart() -> None:
    texts = ["x" * 7000 + end for end in "ab"]
    first, second = (layout.params(record)["param.long"] for record in map(with_param, texts))
    assert len(first) == len(second) == layout.PARAM_LENGTH
    assert first != second
    assert layout.params(with_param({"deep": [1, None]}))["param.long"] == '{"deep":[1,null]}'


def with_param(value: object):
    return make_record("c").model_copy(update={"cell": describe("c", long=value)})


@settings(deadline=None)  # the first example waits for the import
@given(st.text(max_size=300))
def test_any_name_becomes_a_key_that_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_tag

    _validate_metric(layout.key(f"curve/{name}"), 0.5, 0, 0)
    _validate_tag(layout.key(f"tlbench.provenance.{name}"), "x")


@given(st.lists(st.text(max_size=8), unique=True))
def test_different_names_become_different_keys(names: list[str]) -> None:
    assert len({layout.key(f"curve/{name}") for name in names}) == len(names)


def test_portions_hold_everything_once_and_little_enough() -> None:
    points = [layout.Point("m", 0.0, step) for step in range(2000)]
    named = {str(number): "v" for number in range(250)}
    portions = list(layout.chunks(points, named))
    assert [point for part, _ in portions for point in part] == points
    assert {key for _, part in portions for key in part} == set(named)
    assert max(len(part) for _, part in portions) <= 100
    assert max(len(part) for part, _ in portions) <= 900


def test_a_plan_too_long_for_mlflow_counts_the_rest_together() -> None:
    entries = [NotApplicable(2, "r" * 50, f"cell {number}") for number in range(1000)]
    left_out = [asdict(entry) for entry in entries]
    tags = layout.experiment_tags("linear_probe", "s" * 30_000, 7, entries)
    assert max(map(len, tags.values())) <= layout.EXPERIMENT_TAG_LENGTH
    plan = json.loads(tags["tlbench.plan"])
    assert plan["cells"] == 7
    assert sum(each["count"] for each in plan["not_applicable"]) == 2000
    assert plan["not_applicable"][:-1] == left_out[: len(plan["not_applicable"]) - 1]
    short = layout.experiment_tags("", "name: s", 1, entries[:1])
    assert json.loads(short["tlbench.plan"])["not_applicable"] == left_out[:1]
    assert short["tlbench.suite"] == "name: s"
