"""What a request means for the cells of a suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_suites import planned, suite

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.planning.run_request import RunRequest, cells_to_run, check_selectors, requested_cells
from tlbench.suite.plan import PlanStatus

GRID = {"methods": ["knn", "nearest_centroid"], "shots": [1, 5], "seeds": 3}


@pytest.fixture
def cells(tmp_path: Path, decoded: Path) -> list[Cell]:
    """Twelve cells: two methods, one and five shots, three seeds."""
    return planned(suite(grid=GRID), tmp_path, decoded)


@pytest.fixture
def status(cells: list[Cell]) -> PlanStatus:
    """Three cells of each status, those of one method and number of shots each."""
    return PlanStatus(todo=cells[:3], done=cells[3:6], failed=cells[6:9], stale=cells[9:])


def test_results_are_asked_for_of_what_the_selectors_leave(cells: list[Cell]) -> None:
    assert requested_cells(RunRequest(), cells, []) == cells
    some = requested_cells(RunRequest(only="method=knn shots=5", skip="seed=0"), cells, [])
    assert {(cell.method.name, cell.shots, cell.seed) for cell in some} == {("knn", 5, 1), ("knn", 5, 2)}
    assert requested_cells(RunRequest(only="failed"), cells, cells[:2]) == cells[:2]


def test_without_selectors_a_run_does_what_has_no_result(status: PlanStatus) -> None:
    assert cells_to_run(status, RunRequest()) == ([], status.todo)
    assert cells_to_run(status, RunRequest(retry_failed=True)) == (status.failed, status.todo)


def test_words_ask_for_cells_with_a_result_and_for_no_others(status: PlanStatus) -> None:
    assert cells_to_run(status, RunRequest(only="failed")) == (status.failed, [])
    assert cells_to_run(status, RunRequest(only="stale seed=1")) == ([status.stale[1]], [])
    assert cells_to_run(status, RunRequest(only="stale failed")) == ([*status.failed, *status.stale], [])


def test_forced_cells_run_again_once_each_and_skipped_ones_not_at_all(status: PlanStatus) -> None:
    again, fresh = cells_to_run(status, RunRequest(force="seed=0", retry_failed=True, skip="seed=2"))
    assert again == [*status.failed[:2], status.done[0], status.stale[0]]
    assert fresh == status.todo[:2]


def test_a_selector_that_matches_nothing_is_refused_with_the_nearest_value(cells: list[Cell]) -> None:
    check_selectors(RunRequest(only="failed method=knn", skip="seed=1"), cells)
    with pytest.raises(UserError, match="--only 'method=kn seed=1': no cell of the suite fits 'method=kn'") as caught:
        check_selectors(RunRequest(only="method=kn seed=1"), cells)
    assert caught.value.hint == "method: did you mean 'knn'?"
    with pytest.raises(UserError, match="--skip 'method=knn method=nearest_centroid': no cell of the suite fits all"):
        check_selectors(RunRequest(skip="method=knn method=nearest_centroid"), cells)
