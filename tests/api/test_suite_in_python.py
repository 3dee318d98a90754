"""A suite from Python, whose results stand in a workspace: plan, run, results, leaderboard, report, and mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from looked_suite import commit, suite

import tlbench
from tlbench.api.columns import LEADERBOARD_COLUMNS, RESULT_COLUMNS
from tlbench.core.errors import UserError
from tlbench.runner.session import RaySession


def write(here: Path, **changes: Any) -> Path:
    path = here / "looked.yaml"
    path.write_text(json.dumps(suite(**changes)))
    return path


def test_a_plan_is_the_same_from_a_file_a_dictionary_and_typed_objects(here: Path) -> None:
    path = write(here, methods=["knn", "nearest_centroid", "protonet"])
    of_file = tlbench.plan(path)
    assert (of_file.cells, of_file.todo, of_file.done) == (12, 12, 0)
    assert str(of_file) == "looked: 12 cells · 12 to do · 6 not applicable · about 0.2 CPU-h"
    said = suite(methods=["knn", "nearest_centroid", "protonet"])
    cells = list(of_file.to_frame()["cell"])
    assert list(tlbench.plan(said).to_frame()["cell"]) == cells
    grid = said["grids"][0] | {"backbones": [tlbench.BackboneSpec(name="conv4", params={"width": 8})]}
    assert list(tlbench.plan(tlbench.Suite(name="looked", grids=[grid])).to_frame()["cell"]) == cells
    assert list(tlbench.plan(str(path)).to_frame()["cell"]) == cells


def test_a_plan_as_a_table_has_the_status_of_every_cell(here: Path) -> None:
    path = write(here)
    commit(path, 4)
    commit(path, 1, error="boom")
    found = tlbench.plan(path)
    assert (found.todo, found.done, found.failed, found.stale) == (7, 4, 1, 0)
    frame = found.to_frame()
    assert frame["status"].value_counts().to_dict() == {"todo": 7, "done": 4, "failed": 1}
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        name: "int64" if name == "seed" else "string" for name in frame
    }


def test_a_suite_whose_cells_are_done_goes_from_run_to_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = suite() | {"baseline": "knn"}
    (here / "elsewhere.yaml").write_text(json.dumps(said | {"name": "elsewhere"}))
    commit(here / "elsewhere.yaml", 12)
    run = tlbench.run(said)
    assert (run.ran, run.failed, run.left, run.unsent, run.is_complete) == (0, 0, 0, 0, True)
    assert str(run) == "looked: 0 cells run"
    again = tlbench.run(said)
    assert again.is_complete
    found = tlbench.results(said)
    pd.testing.assert_frame_equal(found, tlbench.results("looked"))
    assert {name: str(kind) for name, kind in found.dtypes.items()} == {c.name: c.dtype for c in RESULT_COLUMNS}
    assert len(found) == found["cell"].nunique() == 12
    assert set(found["test_accuracy"]) == {0.25}
    assert set(found["suite"]) == {"looked"}
    assert not found["stale"].any()
    assert found["test_ece"].isna().all(), "what was not stored is missing, not made up"
    board = tlbench.leaderboard(said)
    assert {name: str(kind) for name, kind in board.dtypes.items()} == {c.name: c.dtype for c in LEADERBOARD_COLUMNS}
    assert list(board["method"]) == ["knn", "nearest_centroid"]
    assert list(board["is_baseline"]) == [True, False]
    assert (board["score"] == 0.25).all()
    assert list(board["cells"]) == list(board["cells_expected"]) == [6, 6]
    assert capsys.readouterr() == ("", ""), "nothing is printed unasked"


def test_failed_cells_are_counted_with_their_reason(here: Path) -> None:
    path = write(here, seeds=1, shots=[1])
    commit(path, 1)
    commit(path, 1, error="no luck")
    run = tlbench.run(path)
    assert (run.ran, run.failed, run.is_complete) == (0, 1, False)
    assert run.failures[0].reason == "ValueError: no luck"
    assert str(run) == "looked: 0 cells run · 1 failed (ValueError: no luck)"


def test_a_run_that_was_interrupted_raises_once_what_was_under_way_is_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = SimpleNamespace(interrupted=True, ran=3, failed=0, left=9)
    monkeypatch.setattr("tlbench.runner.run_suite.run_suite", lambda *given: ended)
    with pytest.raises(KeyboardInterrupt):
        tlbench.run(suite())


def test_ray_that_somebody_else_has_started_is_left_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    session = RaySession(here)
    with pytest.raises(UserError, match="Ray runs in this process already"), session:
        session.start()


def test_columns_are_documented_and_named_once() -> None:
    for columns in (RESULT_COLUMNS, LEADERBOARD_COLUMNS):
        assert all(column.about for column in columns)
        assert len({column.name for column in columns}) == len(columns)


def test_a_name_of_a_file_is_not_taken_by_a_dictionary(here: Path) -> None:
    path = write(here)
    commit(path, 12)
    assert tlbench.run(path).is_complete
    assert tlbench.run(suite()).is_complete, "it says the same"
    with pytest.raises(UserError, match=r"suite\.name: .*looked\.yaml has the name 'looked', and is another suite"):
        tlbench.run(suite(methods=["knn"]))
    assert any("it cannot run" in note for note in tlbench.plan(suite(methods=["knn"])).notes)
    path.unlink()
    assert not tlbench.plan(suite(methods=["knn"])).notes, "a file that is gone has no name"


@pytest.mark.parametrize("given", [3, None, ["a.yaml"]])
def test_what_is_no_suite_is_refused(here: Path, given: Any) -> None:
    with pytest.raises(UserError, match=r"a suite is a path, a dictionary or a tlbench\.Suite, not"):
        tlbench.plan(given)


def test_mistakes_have_the_sentences_of_the_command_line(here: Path) -> None:
    path = write(here)
    with pytest.raises(UserError, match="no cell of the suite fits 'method=kn'") as error:
        tlbench.run(path, only="method=kn")
    assert "did you mean 'knn'" in error.value.hint
    with pytest.raises(UserError, match=r"luked\.yaml: no such file") as error:
        tlbench.plan("luked.yaml")
    assert "looked.yaml" in error.value.hint
    with pytest.raises(UserError, match="no suite is given"):
        tlbench.leaderboard([])
    with pytest.raises(UserError, match="nothing has run here"):
        tlbench.export("seed=0", "model", workspace=here / "other")
