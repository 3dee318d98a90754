"""The study of one setting: which trials it proposes, when it is over, and who wins. No Ray, no training."""

from __future__ import annotations

from math import log10
from pathlib import Path
from typing import Any

import pytest
from searched_suites import ended, prepared

from tlbench.core.hashing import canonical
from tlbench.core.record import STOPPED
from tlbench.planning.search_plan import read_studies, with_winners
from tlbench.search.problem import SEARCH_SEED, SearchProblem
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def setting(tmp_path: Path, artifacts: Path) -> Any:
    def made(**search: Any) -> SearchProblem:
        (only,) = prepared(tmp_path, artifacts, **search).searches.problems.values()
        return only

    return made


def score(values: dict[str, Any]) -> float:
    """A smooth objective with its best at a rate of 2e-5, far from the default."""
    return 1 - abs(log10(values["lr"]) + 4.7) / 4


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
    space = {"finetune": {"lr": {"choice": [1e-3, 1e-2]}}}
    study = Study(setting(searcher=searcher, declared=False, space=space), {})
    assert run(study) == [{"lr": 1e-3}, {"lr": 1e-2}]
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


def test_no_trial_sees_the_draws_of_a_final_cell(setting: Any, tmp_path: Path, artifacts: Path) -> None:
    here = setting()
    trial = here.trial(3, here.space.start)
    cells = prepared(tmp_path, artifacts).plan.cells
    assert trial.seed == SEARCH_SEED > max(cell.seed for cell in cells)
    assert trial.id not in {cell.id for cell in cells}
    assert trial.shots == cells[0].shots
    refused = {"methods": ["finetune"], "seeds": [SEARCH_SEED]}
    with pytest.raises(Exception, match="seeds"):
        prepared(tmp_path, artifacts, refused)


def test_cells_wait_for_their_search_and_then_have_what_it_found(tmp_path: Path, artifacts: Path) -> None:
    asked = prepared(tmp_path, artifacts, trials=3)
    waiting = [cell for cell in asked.plan.cells if cell.id in asked.searches.waiting]
    assert {cell.method.label for cell in waiting} == {"finetune(tuned)"}
    assert {cell.method.label for cell in asked.plan.cells} == {"finetune(tuned)", "linear_probe"}
    assert len(waiting) == 2
    (setting,) = asked.searches.problems.values()
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
            assert len(left.waiting) == (0 if number == 3 else 2)
    final = [cell for cell in plan.cells if cell.method.name == "finetune"]
    best = records[1].cell.trial
    assert [cell.seed for cell in final] == [0, 1]
    assert all(cell.method.params == {**setting.method.params, **best.values} for cell in final)
    assert all(cell.describe().winner == best for cell in final)
    assert plan.settings() == asked.plan.settings(), "what is planned does not depend on what a search finds"
    probes = [cell.id for cell in asked.plan.cells if cell.method.name == "linear_probe"]
    assert [cell.id for cell in plan.cells if cell.method.name == "linear_probe"] == probes
