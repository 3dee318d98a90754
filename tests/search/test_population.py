"""Generations of a population: who is replaced by whom, with which values, and what is chosen. No Ray, no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from searched_suites import ended, prepared

from tlbench.cli.search_table import search_table
from tlbench.core.description import Trial
from tlbench.core.hashing import canonical
from tlbench.core.record import Record
from tlbench.core.segments import append_segment, describe_course, extend_to_end, segments_before
from tlbench.planning.search_results import SearchResult
from tlbench.search.problem import SearchProblem
from tlbench.search.schedulers.pbt import next_generation
from tlbench.search.study import Study

UNFREEZING = {"methods": ["gradual_unfreezing"]}
LASTING = {"order", "epochs_per_stage", "depth", "warmup"}
Scores = Callable[[int], float | None]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def setting(tmp_path: Path, artifacts: Path) -> Any:
    def made(grid: dict[str, Any] | None = None, **search: Any) -> SearchProblem:
        wanted = {"trials": 8, "scheduler": "pbt", **search}
        only, *_ = prepared(tmp_path, artifacts, grid, **wanted).searches.problems.values()
        return only

    return made


def end(study: Study, trial: Trial, accuracy: float | None, **more: Any) -> None:
    """Let a trial come to its end; a score of None is a failure."""
    like = ended(study.problem, trial.number, trial.values, accuracy, **more)
    study.take(trial.number, Record(**{**vars(like), "cell": study.problem.trial_cell(trial).describe()}))


def generation(study: Study, score: Scores) -> list[Trial]:
    """Run all trials that can be started together; the first of all alone. Return them."""
    started: list[Trial] = []
    while (trial := study.propose()) is not None:
        started.append(trial)
        if trial.number == 1:
            end(study, trial, score(1))
    for trial in reversed(started):  # the order in which they end does not count
        if trial.number != 1:
            end(study, trial, score(trial.number))
    return started


def whole_search(study: Study, score: Scores) -> list[Trial]:
    trials: list[Trial] = []
    while found := generation(study, score):
        trials += found
    return trials


def by_number(number: int) -> float:
    return 0.5 + number % 8 / 100  # of the first eight 7 is the best, 8 the worst


def as_text(trials: list[Trial]) -> list[str]:
    return [canonical(trial.to_json()) for trial in trials]


def test_the_worst_quarter_goes_on_from_the_best_and_the_others_as_they_are(setting: Any) -> None:
    study = Study(setting(), {})
    first, second = generation(study, by_number), generation(study, by_number)
    assert [trial.number for trial in (*first, *second)] == list(range(1, 17))
    assert first[0].values == study.problem.space.start
    assert len({canonical(trial.values) for trial in first}) == 8
    for old, new in zip(first, second, strict=True):
        if old.number in (2, 8):  # worth 0.52 and 0.5; the first, with 0.51, has the default configuration
            assert new.parent in (6, 7)
            parent = first[int(new.parent or 0) - 1]
            assert segments_before(new.segments, 3) == tuple(parent.segments)
            assert new.values != parent.values
            assert [until for until, _ in new.segments] == [3, 6]
        else:
            assert (new.parent, new.values) == (old.number, old.values)
            assert [until for until, _ in new.segments] == [6], "it goes on as one segment"


def test_trials_are_a_function_of_the_records_alone(setting: Any) -> None:
    straight = as_text(whole_search(Study(setting(), {}), by_number))
    assert len(straight) == 24
    once = Study(setting(), {})
    whole_search(once, by_number)
    for known in (1, 8, 11, 16, 23):
        again = Study(setting(), {n: once.records[n] for n in range(1, known + 1)})
        assert as_text(whole_search(again, by_number)) == straight[known:]
    assert as_text(whole_search(Study(setting(), {}), lambda number: 1 - by_number(number))) != straight
    assert Study(setting(), once.records).ended
    one_by_one = Study(setting(parallel=1), {})
    found = []
    while (trial := one_by_one.propose()) is not None:
        assert one_by_one.propose() is None
        found.append(trial)
        end(one_by_one, trial, by_number(trial.number))
    assert as_text(found) == straight, "parallel decides nothing here"


def test_a_generation_waits_for_all_of_the_one_before(setting: Any) -> None:
    study = Study(setting(), {})
    waiting = [study.propose()]
    assert study.propose() is None
    end(study, waiting.pop(), by_number(1))  # type: ignore[arg-type]
    waiting = [study.propose() for _ in range(8)]
    assert [trial is None for trial in waiting] == [False] * 7 + [True]
    for trial in waiting[:6]:
        end(study, trial, by_number(trial.number))  # type: ignore[arg-type, union-attr]
        assert study.propose() is None
    assert not study.ended
    end(study, waiting[6], by_number(8))  # type: ignore[arg-type]
    assert study.propose() is not None


@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_small_populations_lose_one_that_is_neither_the_best_nor_the_default(setting: Any, members: int) -> None:
    study = Study(setting(trials=members), {})
    trials = whole_search(study, lambda number: 0.5 + (number - 1) % members / 10)
    assert len(trials) == 3 * members
    if members < 3:  # the default, and the best
        assert not [trial for trial in trials if len(trial.segments) > 1]
    else:  # the second is the worst in each generation but for the default, and goes on from the last
        assert trials[members + 1].parent == members
        assert trials[2 * members + 1].parent == 2 * members
    assert [trials[place].values for place in (0, members, 2 * members)] == [study.problem.space.start] * 3
    assert study.winner is not None
    assert study.winner.cell.trial.number == 3 * members


def test_the_default_is_trained_to_the_end_and_kept_unless_it_is_beaten(setting: Any) -> None:
    def chosen(best: list[int]) -> Trial | None:
        study = Study(setting(), {})
        while found := generation(study, lambda number: 0.9 if number % 8 == 0 else 0.5):
            for trial in found:
                right = best if trial.number % 8 == 0 else [1] * 5 + [0] * 5
                end(study, trial, sum(right) / 10, right=right)
        return study.winning_trial

    kept = chosen([1] * 6 + [0] * 4)
    assert kept is not None
    assert (kept.number, kept.values, kept.segments) == (17, setting().space.start, ())
    assert setting().tuned_cell(kept) == setting().default_cell
    won = chosen([1] * 8 + [0] * 2)
    assert won is not None
    assert won.number == 24


def test_whoever_failed_is_replaced_and_where_all_did_the_search_is_over(setting: Any) -> None:
    study = Study(setting(), {})
    generation(study, lambda number: None if number in (2, 3, 4, 5, 6) else by_number(number))
    second = generation(study, lambda number: None)
    assert [second[place].parent for place in (0, 6, 7)] == [1, 7, 8]
    assert {trial.parent for trial in second[1:6]} <= {1, 7}, "two of eight are the best quarter"
    assert study.ended
    assert study.propose() is None
    assert (len(study.records), study.max_trials) == (16, 16)
    found = study.winning_trial
    assert found is not None
    assert found.number == 7, "the best of the generation before, which trained"
    assert Study(study.problem, study.records).ended
    hopeless = Study(setting(), {})
    generation(hopeless, lambda number: None)
    assert hopeless.ended
    assert hopeless.winning_trial is None


def test_what_lasts_is_inherited_and_the_rest_moves_inside_its_space(setting: Any) -> None:
    here = setting(UNFREEZING, trials=40)
    assert set(here.space.lasting) == LASTING
    study = Study(here, {})
    first, second = generation(study, by_number), generation(study, by_number)
    known = {trial.number: trial for trial in first}
    children = [trial for trial in second if len(trial.segments) == 2]
    assert len(children) == 10
    moved = set()
    for child in children:
        parent = known[child.parent or 0]
        assert {name: child.values.get(name) for name in LASTING} == {n: parent.values.get(n) for n in LASTING}
        for dimension in here.space.dimensions:
            new, old = child.values.get(dimension.name), parent.values.get(dimension.name)
            if dimension.name in LASTING or new == old or dimension.name not in child.values:
                continue  # it lasts, or stays, or counts no more
            moved.add(dimension.name)
            if dimension.values:
                assert new in dimension.values
            elif old is None:
                assert dimension.space["low"] <= new <= dimension.space["high"], "what was open is drawn"
            else:
                low, high = dimension.space["low"], dimension.space["high"]
                assert new in (pytest.approx(0.8 * old), pytest.approx(1.25 * old), low, high)
                assert low <= new <= high
    assert {"lr", "decay", "weight_decay"} <= moved
    assert len({child.parent for child in children}) > 3, "each draws its own"
    assert min(len(trial.values) for trial in (*first, *children)) < len(here.space.dimensions), (
        "some pace does not count"
    )
    every = {each.name for each in here.space.dimensions}
    assert all(set(values) == every for child in children for _, values in child.segments), (
        "its default holds all the same"
    )


def test_no_two_members_do_the_same_where_there_is_anything_else_to_do(setting: Any) -> None:
    few = {"finetune": {"lr": {"choice": [n / 100 for n in range(1, 17)]}}}
    here = setting(trials=16, searcher="grid", declared=False, space=few)
    for shift in range(4):
        study = Study(here, {})
        for _ in range(2):
            trials = generation(study, lambda number, shift=shift: (number + shift) % 16 / 16)
        assert len({canonical(trial.segments) for trial in trials}) == 16


def test_the_best_of_the_last_whole_generation_is_chosen_and_holds_to_the_end(setting: Any) -> None:
    study = Study(setting(gpu_seconds=19.5), {})
    generation(study, by_number)
    second = generation(study, lambda number: 0.9 if number == 16 else 0.6)
    while (trial := study.propose()) is not None:
        end(study, trial, 0.99)
    assert study.ended
    assert len(study.records) == 20, "twenty trials of a second"
    found = study.winning_trial
    assert found is not None
    assert (found.number, found.values) == (16, second[-1].values)
    assert [until for until, _ in found.segments] == [3, 9]
    assert found.parent is None
    early = Study(setting(gpu_seconds=2.5), {})
    generation(early, by_number)
    assert early.winning_trial is not None
    assert early.winning_trial.segments == (), "what never changed is a configuration like any other"


def test_the_quickest_is_told_by_all_that_it_was_trained(setting: Any) -> None:
    study = Study(setting(trials=3, objective="accuracy_and_cost"), {})
    seconds = {1: 9.0, 7: 1.0, 8: 2.0}
    while (trial := study.propose()) is not None:
        end(study, trial, (0.5, 0.8, 0.795)[trial.number % 3], seconds=seconds.get(trial.number, 1.0))
    parents = {number: record.cell.trial.parent for number, record in study.records.items()}
    assert (parents[7], parents[4]) == (4, 1)
    assert (parents[8], parents[5]) == (5, 2)
    assert study.winning_trial is not None
    assert study.winning_trial.number == 8, "1 + 1 + 2 seconds, and not 9 + 1 + 1"


def test_cells_are_trained_as_the_winner_was_and_their_ids_say_so(setting: Any) -> None:
    study = Study(setting(), {})
    whole_search(study, lambda number: 0.9 if number in (1, 2, 17) else 0.6 + number / 1000)
    here, best = study.problem, study.winning_trial
    assert best is not None
    trials = {number: record.cell.trial for number, record in study.records.items()}
    child = next(trial for trial in trials.values() if len(trial.segments) > 1 and trial.number > 16)
    found = Trial(here.key, child.number, child.values, extend_to_end(child.segments))
    cell, plain, other = (
        here.tuned_cell(found),
        here.tuned_cell(Trial(here.key, 1, child.values)),
        replace(here, seed=1).tuned_cell(found),
    )
    assert cell.method == plain.method
    assert len({cell.id, plain.id, other.id}) == 3
    assert cell.describe().winner.segments[-1].until == 9
    assert {cell.random_root, plain.random_root} == {cell.id, plain.id}
    assert here.trial_cell(child).random_root == here.trial_cell(trials[1]).random_root == here.key, (
        "a segment continues as its parent would have"
    )
    assert here.trial_cell(child).id != here.trial_cell(trials[1]).id


def test_methods_that_cannot_be_cut_are_searched_as_without_a_scheduler(setting: Any) -> None:
    probe = {"nearest_centroid": {"transform": {"choice": ["none", "l2", "cl2n"]}}}
    plain = {"methods": ["nearest_centroid"]}
    cut, uncut = setting(), setting(plain, space=probe)
    assert (cut.segmented, uncut.segmented) == (True, False)
    assert (cut.max_trials, uncut.max_trials) == (24, 8)
    assert uncut.key == setting(plain, space=probe, scheduler="none").key
    assert cut.key != setting(scheduler="none").key
    assert cut.key != setting(trials=9).key, "a population of another size has other trials"
    assert setting(trials=9, scheduler="none").key == setting(scheduler="none").key
    assert len(whole_search(Study(uncut, {}), by_number)) == 3
    nothing = {"finetune": {"epochs": {"choice": [5, 20]}}}
    assert not setting(declared=False, space=nothing).segmented, "nothing may change while it trains"


def test_a_small_space_makes_a_small_population(setting: Any) -> None:
    study = Study(
        setting(declared=False, searcher="grid", space={"finetune": {"weight_decay": {"choice": [1e-2, 1e-3]}}}), {}
    )
    trials = whole_search(study, lambda number: 0.5 + number / 100)
    assert len(trials) == 6
    assert study.ended
    assert [trial.values["weight_decay"] for trial in trials[:2]] == [1e-2, 1e-3]


def test_legs_join_where_nothing_changes_and_are_told_where_something_does() -> None:
    one, other = {"lr": 0.1, "rank": 4}, {"lr": 0.08, "rank": 4}
    segments = append_segment(append_segment((), 3, one), 6, one)
    assert segments == ((6, one),)
    assert extend_to_end(segments) == ()
    segments = append_segment(segments, 9, other)
    assert segments == ((6, one), (9, other))
    assert segments_before(segments, 3) == ((3, one),)
    assert segments_before(segments, 6) == ((6, one),)
    assert segments_before(segments, 9) == segments
    assert extend_to_end(segments_before(append_segment(append_segment((), 3, one), 6, other), 6)) == (
        (3, one),
        (9, other),
    )
    assert describe_course(other, segments) == {"lr": "0.1 → 0.08 (2/3)", "rank": 4}
    assert describe_course(one, ()) == one


def test_the_table_of_searches_shows_how_a_value_changed() -> None:
    segments = ((3, {"lr": 0.012345, "rank": 4}), (9, {"lr": 0.009876, "rank": 4}))
    found = SearchResult("lora", 8, 1, 3.0, 0.5, 0.6, 17, segments[-1][1], segments)
    console = Console(width=200, record=True, file=StringIO())
    console.print(search_table([found, replace(found, trials=5 / 3, segments=())]))
    shown = console.export_text()
    assert "lr=0.0123 → 0.00988 (1/3), rank=4" in shown
    assert "lr=0.00988, rank=4" in shown
    assert " 1.67 " in shown, "trainings' worth of trials"


def test_without_validation_there_is_no_second_generation(setting: Any) -> None:
    study = Study(setting(), {})
    first = study.propose()
    assert first is not None
    end(study, first, -1.0)
    assert study.ended
    assert (study.winning_trial, study.max_trials) == (None, 1)


def test_nothing_follows_the_last_generation(setting: Any) -> None:
    study = Study(setting(trials=2), {})
    whole_search(study, by_number)
    assert next_generation(study.problem, [study.records[5], study.records[6]]) == []
