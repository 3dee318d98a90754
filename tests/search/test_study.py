"""The study of one setting: which trials it proposes, when it is over, and who wins. No Ray, no training."""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searched_suites import ended, prepared

from tlbench.core.hashing import canonical
from tlbench.core.record import STOPPED
from tlbench.planning.search_plan import planned_settings, read_studies, with_winners, without_winners
from tlbench.search.objective import beats_by_standard_error
from tlbench.search.problem import SearchProblem
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def setting(tmp_path: Path, artifacts: Path) -> Any:
    def made(**search: Any) -> SearchProblem:
        only, *_ = prepared(tmp_path, artifacts, **search).searches.problems.values()
        return only

    return made


def score(values: dict[str, Any]) -> float:
    """A smooth objective with its best at a rate of 2e-5, far from the default."""
    return 1 - abs(log10(values.get("lr") or 1e-3) + 4.7) / 4


def run(study: Study, until: int | None = None) -> list[dict[str, Any]]:
    """Run a study's trials one after another; return their values."""
    while (trial := study.propose()) is not None:
        study.take(trial.number, ended(study.problem, trial.number, trial.values, score(trial.values)))
        if trial.number == until:
            break
    return [study.records[number].cell.trial.values for number in sorted(study.records)]


@pytest.mark.parametrize("searcher", ["random", "grid", "optuna"])
def test_the_default_comes_first_and_the_same_suite_has_the_same_trials(setting: Any, searcher: str) -> None:
    one, other = (run(Study(setting(searcher=searcher), {})) for _ in range(2))
    assert one == other
    assert len(one) == 6
    assert one[0] == setting().space.start
    assert len({canonical(values) for values in one}) == 6


@pytest.mark.parametrize("searcher", ["random", "grid", "optuna"])
def test_a_search_goes_on_where_it_was_and_a_larger_budget_goes_on_from_a_smaller(setting: Any, searcher: str) -> None:
    whole = run(Study(setting(searcher=searcher, trials=12), {}))
    first = Study(setting(searcher=searcher, trials=6), {})
    assert run(first, until=5) == whole[:5]
    again = Study(setting(searcher=searcher, trials=12), dict(first.records))
    assert run(again) == whole


def test_estimators_come_closer_than_chance(setting: Any) -> None:
    learnt, blind = (run(Study(setting(searcher=s, trials=40), {}))[-20:] for s in ("optuna", "random"))
    assert sum(map(score, learnt)) > sum(map(score, blind)) + 1


def test_independent_trials_do_not_look_at_results(setting: Any) -> None:
    study = Study(setting(), {})
    first = study.propose()
    assert first is not None
    assert first.number == 1
    assert study.propose() is None  # not before it is known whether there is anything to choose by
    study.take(1, ended(study.problem, 1, first.values, 0.5))
    started = [study.propose() for _ in range(5)]
    assert [each.number for each in started if each] == [2, 3, 4, 5, 6]
    assert [each.values for each in started if each] == run(Study(setting(), {}))[1:]


@pytest.mark.parametrize("search", [{"searcher": "optuna"}, {"scheduler": "asha"}, {"scheduler": "median"}])
def test_trials_that_depend_on_others_run_one_after_another(setting: Any, search: dict[str, Any]) -> None:
    study = Study(setting(**search), {})
    for number in (1, 2, 3):
        proposed = study.propose()
        assert proposed is not None
        assert proposed.number == number
        assert study.propose() is None
        study.take(number, ended(study.problem, number, proposed.values, 0.5))
    wide = Study(setting(**search, parallel=2), {1: study.records[1]})
    assert [wide.propose() is None for _ in range(3)] == [False, False, True]


def test_a_budget_of_seconds_counts_failures_too(setting: Any) -> None:
    study = Study(setting(gpu_seconds=10.0), {})
    for number, accuracy in ((1, 0.5), (2, None)):
        proposed = study.propose()
        assert proposed is not None
        study.take(number, ended(study.problem, number, proposed.values, accuracy, seconds=6.0))
    assert study.spent == 12.0
    assert study.propose() is None
    assert study.ended
    assert study.winner is not None


def test_without_validation_there_is_no_search(setting: Any) -> None:
    study = Study(setting(), {})
    proposed = study.propose()
    assert proposed is not None
    study.take(1, ended(study.problem, 1, proposed.values, -1.0))
    assert study.blind
    assert study.ended
    assert study.winner is None


@pytest.mark.parametrize("searcher", ["grid", "random"])
def test_a_small_space_ends_before_the_budget(setting: Any, searcher: str) -> None:
    space = {"finetune": {"weight_decay": {"choice": [1e-2, 1e-3]}}}
    study = Study(setting(searcher=searcher, declared=False, space=space), {})
    assert run(study) == [{"weight_decay": 1e-2}, {"weight_decay": 1e-3}]
    assert study.ended
    assert Study(study.problem, study.records).ended, "whoever looks at it later sees that it is over"


def test_who_wins(setting: Any) -> None:
    here = setting()
    values = here.space.start

    def of(*trials: tuple[float | None, dict[str, Any]], search: Any = None) -> int:
        chosen = search or here
        records = {n: ended(chosen, n, values, a, **more) for n, (a, more) in enumerate(trials, start=1)}
        won = Study(chosen, records).winner
        return 0 if won is None else int(won.cell.trial.number)

    assert of((0.5, {}), (0.7, {}), (0.6, {})) == 2
    assert of((0.7, {}), (0.7, {})) == 1, "of equal ones the first, which is the default"
    assert of((0.7, {"nll": 1.2}), (0.7, {"nll": 0.8})) == 2, "unless the loss tells them apart"
    assert of((0.7, {"nll": 0.1}), (0.701, {"nll": 9.0})) == 2, "accuracy goes before the loss"
    assert of((0.5, {}), (None, {}), (0.9, {"selected": {STOPPED: 0.1}})) == 1, "neither failed nor stopped"
    both = setting(objective="accuracy_and_cost")
    assert of((0.5, {}), (0.8, {"seconds": 9.0}), (0.795, {"seconds": 2.0}), search=both) == 3
    assert of((0.5, {}), (0.8, {"seconds": 9.0}), (0.78, {"seconds": 2.0}), search=both) == 2
    warm, cold = {"seconds": 2.0, "billed": 6.0}, {"seconds": 9.0, "billed": 5.0}
    assert of((0.5, {}), (0.8, warm), (0.795, cold), search=both) == 3, "by the bill, not by who met features first"


def test_every_seed_has_a_search_of_its_own(tmp_path: Path, artifacts: Path) -> None:
    searches = prepared(tmp_path, artifacts).searches
    one, other = searches.problems.values()
    assert (one.seed, other.seed) == (0, 1)
    assert one.key != other.key
    trials = [each.trial(2, {"lr": 1e-3}) for each in (one, other)]
    assert [trial.seed for trial in trials] == [0, 1]
    assert {trial.shots for trial in trials} == {one.shots}
    assert len({trial.id for trial in trials} | {each.default_cell.id for each in (one, other)}) == 4
    assert run(Study(one, {}))[1:] != run(Study(other, {}))[1:], "the luck of the search is independent as well"


def compared(setting: Any, ours: list[int], theirs: list[int], group: int = 1) -> bool | None:
    first, second = (
        ended(setting(), number, {}, sum(right) / len(right), right=right, group=group)
        for number, right in enumerate((theirs, ours), start=1)
    )
    return beats_by_standard_error(second, first)


@pytest.mark.parametrize(
    ("only_ours", "only_theirs", "beats"),
    [
        (0, 0, False),
        (1, 0, False),
        (2, 0, True),
        (3, 1, False),
        (4, 1, True),
        (6, 3, False),
        (7, 3, True),
        (0, 5, False),
    ],
)
@pytest.mark.parametrize("neither", [0, 40])
def test_one_standard_error_in_closed_form(
    setting: Any, only_ours: int, only_theirs: int, beats: bool, neither: int
) -> None:
    """(b - c)^2 > b + c, whatever the number of examples; the same as numpy's mean and standard error."""
    ours = [1] * only_ours + [0] * only_theirs + [1] * neither + [0, 1]
    theirs = [0] * only_ours + [1] * only_theirs + [1] * neither + [0, 1]
    assert compared(setting, ours, theirs) is beats
    difference = np.subtract(ours, theirs)
    error = difference.std(ddof=1) / len(difference) ** 0.5
    if abs(difference.mean() - error) > 1e-12:
        assert (difference.mean() > error) is np.bool_(beats)


def test_queries_of_an_episode_count_together(setting: Any) -> None:
    """Four right answers more, all in one episode of three, are less than one standard error."""
    theirs = [0] * 12
    assert compared(setting, [1, 1, 1, 1, *[0] * 8], theirs) is True
    assert compared(setting, [1, 1, 1, 1, *[0] * 8], theirs, group=4) is False
    assert compared(setting, [1, 1, 0, 0, 1, 1, 0, 0, *[0] * 4], theirs, group=4) is True
    assert compared(setting, [1] * 12, theirs, group=12) is False, "one episode has no standard error"


def test_the_default_is_kept_unless_it_is_beaten_by_one_standard_error(setting: Any) -> None:
    here = setting()

    def winner(*right: list[int] | None) -> tuple[int, bool]:
        records = {
            n: ended(
                here, n, here.space.start if n == 1 else {"lr": n / 100}, None if r is None else sum(r) / 10, right=r
            )
            for n, r in enumerate(right, start=1)
        }
        study = Study(here, records)
        assert study.winner is not None
        return study.winner.trial.number, study.keeps_default

    default = [1] * 5 + [0] * 5
    assert winner(default, [1] * 6 + [0] * 4) == (1, True)
    assert winner(default, [1] * 7 + [0] * 3) == (2, False)
    assert winner(default, [0] * 2 + [1] * 8) == (2, False), "five gained, two lost: 9 > 7"
    assert winner(default, [0] * 3 + [1] * 7) == (1, True), "five gained, three lost: 4 < 8"
    assert winner(default, [0] * 5 + [1] * 5) == (1, False), "not better at all"
    assert winner(None, [1, *[0] * 9]) == (2, False), "a default that failed cannot be kept"


def test_without_answers_the_best_value_wins(setting: Any) -> None:
    """So it is with the validators of an adaptation, and with trials of earlier versions."""
    here = setting()
    records = {n: ended(here, n, here.space.start, 0.5 + n / 100) for n in (1, 2)}
    assert Study(here, records).winner == Study(here, records).records[2]
    mixed = records | {1: ended(here, 1, here.space.start, 0.51, right=[1, 0])}
    assert not Study(here, mixed).keeps_default


@pytest.mark.parametrize(("agreement", "least"), [(0.0, 0.4), (0.9, 0.6), (0.95, 0.8)])
def test_equal_settings_leave_the_default_in_its_place(setting: Any, agreement: float, least: float) -> None:
    """The best of sixteen equal settings on ten images is another in most searches; the default stays in its place.

    Trials that were trained on the same labels err on the same images; ``agreement`` is the share on which they must.
    """
    here, generator = setting(), np.random.default_rng(0)
    kept = taken = 0
    for _ in range(200):
        easy = generator.random(10)
        own = generator.random((16, 10))
        right = np.where(generator.random((16, 10)) < agreement, easy, own) < 0.6
        records = {
            n: ended(here, n, here.space.start if n == 1 else {"lr": n / 1000}, r.mean(), right=r)
            for n, r in enumerate(right, start=1)
        }
        study = Study(here, records)
        best, chosen = study.best, study.winner
        assert best is not None
        assert chosen is not None
        taken += best.trial.number != 1
        kept += chosen.trial.number == 1
    assert taken >= 0.65 * 200
    assert kept >= least * 200


def test_a_search_among_worse_settings_loses_less_than_the_best_of_them(setting: Any) -> None:
    """Ten images, a default that is right on 70%, fifteen settings that are right on 60%: what the choice is worth."""
    here, generator = setting(), np.random.default_rng(0)
    truth = np.asarray([0.7] + [0.6] * 15)
    best, chosen = [], []
    for _ in range(200):
        easy, own = generator.random(10), generator.random((16, 10))
        right = np.where(generator.random((16, 10)) < 0.8, easy, own) < truth[:, None]
        records = {
            n: ended(here, n, here.space.start if n == 1 else {"lr": n / 1000}, r.mean(), right=r)
            for n, r in enumerate(right, start=1)
        }
        study = Study(here, records)
        assert study.best is not None
        assert study.winner is not None
        best.append(truth[study.best.trial.number - 1])
        chosen.append(truth[study.winner.trial.number - 1])
    assert np.mean(best) < 0.65
    assert np.mean(chosen) > 0.67


def test_cells_wait_for_their_search_and_then_have_what_it_found(tmp_path: Path, artifacts: Path) -> None:
    asked = prepared(tmp_path, artifacts, trials=3)
    waiting = [cell for cell in asked.plan.cells if cell.id in asked.searches.waiting]
    assert {cell.method.label for cell in waiting} == {"finetune(tuned)"}
    assert {cell.method.label for cell in asked.plan.cells} == {"finetune(tuned)", "finetune", "linear_probe"}
    assert len(waiting) == 2
    references = [cell for cell in asked.plan.cells if cell.id in asked.searches.references]
    assert [(cell.method.label, cell.seed) for cell in references] == [("finetune", 0), ("finetune", 1)]
    setting, other = asked.searches.problems.values()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        records = []
        study = Study(setting, {})
        for number in (1, 2, 3):
            proposed = study.propose()
            assert proposed is not None
            study.take(number, ended(setting, number, proposed.values, 0.9 if number == 2 else 0.5))
            records.append(study.records[number])
            lease = ledger.lease([records[-1].id], "me", 60)
            assert ledger.commit(records[-1], lease[records[-1].id])
            known = read_studies(asked.searches, ledger)
            plan, left = with_winners(asked.plan, asked.searches, known)
            assert left.waiting == {other.waiting_cell.id, *([] if number == 3 else [setting.waiting_cell.id])}
    tuned, default, *rest = [cell for cell in plan.cells if cell.method.name == "finetune"]
    best = records[1].cell.trial
    assert [cell.seed for cell in (tuned, default)] == [0, 0]
    assert tuned.method.params == {**setting.method.params, **best.values}
    assert tuned.describe().winner == best
    assert default == setting.default_cell == references[0]
    assert rest == [other.waiting_cell, other.default_cell]
    assert without_winners(plan, left, [setting.key]) == (asked.plan, asked.searches)
    assert planned_settings(plan, left) == planned_settings(asked.plan, asked.searches), "kept is all that is added"
    probes = [cell.id for cell in asked.plan.cells if cell.method.name == "linear_probe"]
    assert [cell.id for cell in plan.cells if cell.method.name == "linear_probe"] == probes


def test_where_the_default_is_kept_its_cell_is_the_tuned_one(tmp_path: Path, artifacts: Path) -> None:
    asked = prepared(tmp_path, artifacts, trials=2)
    studies = {}
    for problem in asked.searches.problems.values():
        study = Study(problem, {})
        while (trial := study.propose()) is not None:
            right = [1] * (5 + (trial.number == 2)) + [0] * 4
            study.take(trial.number, ended(problem, trial.number, trial.values, sum(right) / 9, right=right[:9]))
        studies[problem.key] = study
    plan, searches = with_winners(asked.plan, asked.searches, studies)
    assert not searches.waiting
    assert not searches.references, "they are rows now"
    kept = [cell for cell in plan.cells if cell.method.name == "finetune"]
    assert kept == [problem.default_cell for problem in asked.searches.problems.values()]
    assert {(cell.method.label, cell.winner) for cell in kept} == {("finetune", None)}
    assert all(searches.keeps_default(searches.by_cell[cell.id]) for cell in kept)
    keys = [problem.key for problem in asked.searches.problems.values()]
    assert without_winners(plan, searches, keys) == (asked.plan, asked.searches)
    before, after = planned_settings(asked.plan, asked.searches), planned_settings(plan, searches)
    assert {(each.method, each.tuned_from, each.seeds, each.kept) for each in before} == {
        ("finetune(tuned)", "finetune", (0, 1), ()),
        ("linear_probe", "", (0, 1), ()),
    }
    assert {(each.method, each.tuned_from, each.seeds, each.kept) for each in after} == {
        ("finetune(tuned)", "finetune", (0, 1), (0, 1)),
        ("linear_probe", "", (0, 1), ()),
    }
