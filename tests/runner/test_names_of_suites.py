"""Two suites with one name in one workspace: the second is refused; a file that was edited, moved or copied goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.planning.prepare import prepare
from tlbench.runner.suite_names import note_of_name
from tlbench.runner.tracking import claim
from tlbench.store.workspace import Workspace

SUITE: dict[str, Any] = {
    "name": "mine",
    "baseline": "knn",
    "grids": [
        {
            "protocol": "classification",
            "methods": ["knn", "nearest_centroid"],
            "backbones": [{"name": "conv4", "width": 8}],
            "datasets": ["digits"],
            "shots": [1],
            "seeds": 2,
        }
    ],
}


@pytest.fixture
def workspace(tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    return Workspace.at(tmp_path / "workspace")


def claimed(file: Path, workspace: Workspace, content: dict[str, Any] | None = None) -> set[str]:
    """Write a suite file, if there is something to write, and claim its cells as every run does."""
    if content is not None:
        file.write_text(json.dumps(content, indent=1))
    prepared = prepare(file, workspace.artifacts)
    with workspace.ledger() as ledger:
        claim(prepared, ledger)
    return {cell.id for cell in prepared.plan.cells}


def with_seeds(seeds: int, **keys: Any) -> dict[str, Any]:
    return {**SUITE, **keys, "grids": [{**SUITE["grids"][0], "seeds": seeds}]}


@pytest.mark.parametrize("changed", [with_seeds(1), with_seeds(3), with_seeds(2, baseline="nearest_centroid")])
def test_a_changed_copy_with_the_name_of_its_original_is_refused_and_takes_nothing(
    tmp_path: Path, workspace: Workspace, changed: dict[str, Any]
) -> None:
    first, copy = tmp_path / "a.yaml", tmp_path / "copy.yaml"
    cells = claimed(first, workspace, SUITE)
    message = rf"{copy}:2: {first} has the name 'mine', and is another suite\n  give this one a name or a workspace"
    with workspace.ledger() as ledger:
        before = ledger.suites()
    with pytest.raises(UserError, match=message):
        claimed(copy, workspace, changed)
    with workspace.ledger() as ledger:
        assert ledger.suites() == before
        assert ledger.tracking_state("mine", "x").unlisted() == []
        taken = note_of_name(prepare(copy, workspace.artifacts), ledger)
        assert taken.startswith(f"{copy}:2: {first} has the name 'mine', and is another suite: it cannot run; give")
        assert note_of_name(prepare(first, workspace.artifacts), ledger) == ""
    assert claimed(first, workspace) == cells
    assert len(claimed(copy, workspace, changed | {"name": "other"})) > 0


def test_files_that_were_edited_moved_or_copied_unchanged_go_on(tmp_path: Path, workspace: Workspace) -> None:
    first, copy, moved = (tmp_path / f"{name}.yaml" for name in ("a", "copy", "moved"))
    claimed(first, workspace, SUITE)
    claimed(first, workspace, with_seeds(3))  # edited
    claimed(copy, workspace, with_seeds(3))  # copied
    first.rename(moved)
    claimed(moved, workspace)
    claimed(moved, workspace, with_seeds(1))  # moved, then edited
    with pytest.raises(UserError, match=r"moved\.yaml has the name 'mine', and is another suite"):
        claimed(copy, workspace)
    moved.write_text(json.dumps(with_seeds(1, name="renamed")))
    claimed(copy, workspace)  # the name has become free


def test_the_text_counts_and_not_its_layout(tmp_path: Path, workspace: Workspace) -> None:
    first, copy = tmp_path / "a.yaml", tmp_path / "copy.yaml"
    claimed(first, workspace, SUITE)
    copy.write_text("# a comment\n" + json.dumps(SUITE))
    claimed(copy, workspace)
    first.write_text("notes: none\n")  # no suite any more
    claimed(copy, workspace, with_seeds(1))
    copy.write_bytes(b"\xff")  # what cannot be read may be anything
    with pytest.raises(UserError, match=r"copy\.yaml has the name 'mine', and is another suite"):
        claimed(first, workspace, SUITE)


def test_links_to_a_suite_are_the_suite(tmp_path: Path, workspace: Workspace) -> None:
    first, soft, hard = tmp_path / "a.yaml", tmp_path / "soft.yaml", tmp_path / "hard.yaml"
    claimed(first, workspace, SUITE)
    soft.symlink_to(first)
    hard.hardlink_to(first)
    claimed(soft, workspace)
    claimed(hard, workspace, with_seeds(1))  # written in place: both have it
    claimed(first, workspace)


def folder_suite(folder: Path, color: int) -> Path:
    """Write a suite beside two classes of small images of one colour."""
    for name in ("a", "b"):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (color, number, ord(name))).save(folder / "data" / name / f"{number}.png")
    grid = SUITE["grids"][0] | {"datasets": [{"name": "folder", "path": "data"}], "seeds": 1}
    file = folder / "a.yaml"
    file.write_text(json.dumps({**SUITE, "grids": [grid]}))
    return file


def test_the_same_words_beside_other_data_are_another_suite(tmp_path: Path, workspace: Workspace) -> None:
    one, other, same = (tmp_path / name for name in ("one", "other", "same"))
    claimed(folder_suite(one, 10), workspace)
    with pytest.raises(UserError, match=r"one/a\.yaml has the name 'mine', and is another suite"):
        claimed(folder_suite(other, 200), workspace)
    shutil.copytree(one, same)
    claimed(same / "a.yaml", workspace)


def test_a_project_that_is_copied_with_its_workspace_is_one_of_its_own(
    tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    one, copied = tmp_path / "one", tmp_path / "copied"
    one.mkdir()
    claimed(one / "a.yaml", Workspace.at(one / ".tlbench"), SUITE)
    shutil.copytree(one, copied)
    claimed(copied / "a.yaml", Workspace.at(copied / ".tlbench"), with_seeds(3))
    claimed(one / "a.yaml", Workspace.at(one / ".tlbench"), with_seeds(1))
    # Another machine, where the workspace is found under another path: the file of before is not to be seen there.
    shutil.move(one / ".tlbench", tmp_path / "mounted")
    claimed(copied / "a.yaml", Workspace.at(tmp_path / "mounted"))


def test_a_ledger_of_before_belongs_to_the_first_file_that_is_run(tmp_path: Path, workspace: Workspace) -> None:
    claimed(tmp_path / "a.yaml", workspace, SUITE)
    with workspace.ledger() as ledger:
        ledger._database.connection.execute("DROP TABLE suite_files")
    claimed(tmp_path / "b.yaml", workspace, with_seeds(3))
    with pytest.raises(UserError, match=r"b\.yaml has the name 'mine'"):
        claimed(tmp_path / "a.yaml", workspace)
