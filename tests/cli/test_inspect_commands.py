"""The commands that only look: lists, schema, check, plan, status and cell, on results put into the ledger here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tlbench
from tlbench.core.record import Cost, Outcome, Record
from tlbench.planning.prepare import PreparedSuite, prepare
from tlbench.planning.run_request import RunRequest, command_to_continue, requested
from tlbench.store.workspace import Workspace

SUITES = Path(__file__).parents[2] / "suites"
GRID: dict[str, Any] = {
    "protocol": "classification",
    "methods": ["knn", "nearest_centroid"],
    "backbones": [{"name": "conv4", "width": 8}],
    "datasets": ["digits"],
    "shots": [1, 5],
    "seeds": 3,
}


def suite(**changes: Any) -> dict[str, Any]:
    """Return a suite of 12 cells; keys of the suite replace its own, the others those of its grid."""
    own = {key: changes.pop(key) for key in ("limits", "search", "grids") if key in changes}
    return {"name": "looked", "grids": [GRID | changes], **own}


@pytest.fixture
def file(here: Path) -> Callable[..., Path]:
    """Write ``looked.yaml``."""

    def write(**changes: Any) -> Path:
        path = here / "looked.yaml"
        path.write_text(json.dumps(suite(**changes), indent=1))
        return path

    return write


def commit(file: Path, count: int, seconds: float = 1.0, error: str = "") -> PreparedSuite:
    """Commit results of the first cells of a suite that have none."""
    workspace = Workspace.at(None)
    prepared = prepare(file, workspace.artifacts)
    with workspace.ledger() as ledger:
        done = ledger.done()
        cells = [cell for cell in prepared.plan.cells if cell.id not in done][:count]
        leases = ledger.lease([cell.id for cell in cells], "test", 60)
        for cell in cells:
            record = Record(
                cell=cell.describe(),
                status="failed" if error else "done",
                outcome=None if error else Outcome(scores={"accuracy": 0.25}, notes=("seen",)),
                cost=Cost(
                    seconds=seconds, train_seconds=0, cpu_seconds=0, peak_memory=2**20, gpus=0, cpus=2, started=0.0
                ),
                error={"type": "ValueError", "message": f"{error}\nmore", "traceback": "line 1\nline 2"}
                if error
                else None,
            )
            assert ledger.commit(record, leases[cell.id])
    return prepared


@pytest.mark.parametrize("what", ["methods", "protocols", "backbones", "datasets"])
def test_lists_name_everything_once_with_a_line_each(command: Any, what: str) -> None:
    rows = json.loads(command("list", what, "--json").out)
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) > 1
    assert all(row["about"] for row in rows)
    printed = command("list", what).out.splitlines()
    assert [line.split()[0] for line in printed] == names


def test_suites_are_listed_by_path_with_their_comment(command: Any, here: Path) -> None:
    assert command("list", "suites") == (0, "", "there are no suites here: no file suites/*.yaml\n")
    (here / "suites").mkdir()
    (here / "suites" / "a.yaml").write_text("# tlbench run suites/a.yaml\n#\n# What it asks.\nname: a\n")
    assert command("list", "suites").out == "suites/a.yaml  What it asks.\n"


def test_version_and_help_without_a_command(command: Any) -> None:
    assert command("--version").out == f"{tlbench.__version__}\n"
    said = command()
    assert said.code == 0
    assert all(name in said.out for name in ("list", "check", "plan", "run", "status", "cell", "sync", "report", "ui"))
    told = command("run", "--help").out
    assert "$TLBENCH_WORKSPACE" in told
    assert "--home" not in told


@pytest.mark.parametrize("option", ["--workspace", "--home"])
def test_the_workspace_may_be_given_by_its_name_of_old(command: Any, file: Any, here: Path, option: str) -> None:
    assert command("plan", file(), option, "elsewhere").code == 0
    assert (here / "elsewhere" / "ledger.sqlite").exists()
    assert not (here / "workspace").exists()


def test_the_workspace_s_variable_of_old_counts_without_the_new_one(here: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TLBENCH_HOME", str(here / "old"))
    assert Workspace.at(None).root == here / "workspace"
    monkeypatch.delenv("TLBENCH_WORKSPACE")
    assert Workspace.at(None).root == here / "old"
    assert Workspace.at(here / "given").root == here / "given"


def test_the_schema_admits_the_suites_that_exist_and_no_typo(command: Any, here: Path) -> None:
    from ruamel.yaml import YAML

    schema = json.loads(command("schema").out)
    check = jsonschema.Draft202012Validator(schema).validate
    jsonschema.Draft202012Validator.check_schema(schema)
    files = sorted(SUITES.glob("*.yaml"))
    assert files
    for path in files:
        check(YAML(typ="safe").load(path))
    for wrong in (suite(methods=["knm"]), suite(methods=[{"name": "knn", "params": {"kk": 1}}]), suite(ways=5)):
        with pytest.raises(jsonschema.ValidationError):
            check(wrong)


def test_a_dataset_may_be_written_in_any_case(command: Any, file: Callable[..., Path]) -> None:
    pretrain = {"method": "supervised", "dataset": "glyphs"}
    backbones = [{"name": "conv4", "width": 8}, {"name": "conv4", "width": 8, "pretrain": pretrain}]
    ids = [
        json.loads(command("plan", file(datasets=[name], backbones=backbones), "--json").out)["todo_ids"]
        for name in ("digits", "Digits")
    ]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 24
    pretrain["dataset"] = {"name": "GLYPHS"}
    assert json.loads(command("plan", file(backbones=backbones), "--json").out)["todo_ids"] == ids[0]


def test_plan_tells_what_a_search_will_try(command: Any, file: Callable[..., Path]) -> None:
    path = file(methods=["linear_probe", "finetune"], search={"trials": 4}, shots=[5])
    said = command("plan", path)
    assert "searching first: 0 of at most 4 trials done" in said.out
    seen = json.loads(command("plan", path, "--json").out)
    assert seen["trials"] == {"done": 0, "at_most": 4}
    assert "searching" not in command("plan", file()).out


def test_plan_tells_what_is_to_do_what_makes_no_sense_and_what_it_will_cost(
    command: Any, file: Callable[..., Path]
) -> None:
    path = file(methods=["knn", "nearest_centroid", "protonet"])
    assert command("check", path).out == f"{path}: fine, 12 cells, 6 not applicable (`tlbench plan {path}` says why)\n"
    seen = json.loads(command("plan", path, "--json").out)
    assert (seen["cells"], seen["todo"], seen["done"]) == (12, 12, 0)
    assert sum(entry["count"] for entry in seen["not_applicable"]) == 6
    text = command("plan", path).out
    assert text.startswith("looked: 12 cells · 12 todo\n  not applicable (6): protonet in classification")
    assert "about 0.2 CPU-h; 12m00 if cells ran one after another" in text
    assert f"`tlbench run {path}` runs what is to do" in text
    commit(path, 12)
    assert command("plan", path).out.startswith("looked: 12 cells · 12 done\n")
    assert "tlbench run" not in command("plan", path).out


def test_a_limit_that_is_used_up_is_shown(command: Any, file: Callable[..., Path]) -> None:
    path = file(limits={"cpu_hours": 1})
    commit(path, 2, seconds=600)
    assert "limits.cpu_hours: 0.667 of 1 used\n" in command("plan", path).out
    commit(path, 1, seconds=600)
    assert "limits.cpu_hours: 1 of 1 used: no further cell starts\n" in command("status", path).out


def test_status_groups_failures_by_reason_and_lists_cells_when_asked(command: Any, file: Callable[..., Path]) -> None:
    path = file()
    prepared = commit(path, 5, error="boom [red]")
    commit(path, 1, error="bang")
    commit(path, 2)
    lines = command("status", path).out.splitlines()
    assert lines[0] == "looked: 12 cells · 4 todo · 2 done · 6 failed"
    assert "  failed cells run again with --retry-failed" in lines
    first = lines.index("  5 cells failed: ValueError: boom [red]")
    assert lines[first + 1].startswith(
        f"    {prepared.plan.cells[0].id}  knn | conv4(width=8)/random | digits | 1 shot | "
    )
    assert lines[first + 4] == "    and 2 more (--cells lists all)"
    assert lines[first + 5] == "  1 cell failed: ValueError: bang"
    listed = command("status", path, "--cells").out.splitlines()[len(lines) :]
    assert [line.split()[0] for line in listed] == [cell.id for cell in prepared.plan.cells]
    assert [line.split()[1] for line in listed] == ["failed"] * 6 + ["done"] * 2 + ["todo"] * 4


def test_cell_tells_one_record_by_the_start_of_its_id(command: Any, file: Callable[..., Path]) -> None:
    prepared = commit(file(), 1)
    commit(file(), 1, error="boom")
    done, failed = (cell.id for cell in prepared.plan.cells[:2])
    told = command("cell", done[:8]).out
    assert told.startswith(f"{done}  knn | conv4(width=8)/random | digits | 1 shot | seed 0: done\n")
    assert "  test        accuracy 0.25\n" in told
    assert "  note        seen\n" in told
    told = command("cell", failed).out
    assert "  error       ValueError: boom\n" in told
    assert told.endswith("    line 1\n    line 2\n")
    stored = json.loads(command("cell", done, "--json").out)
    assert stored["cell"]["id"] == done
    assert stored["digest"]
    assert "several cells start with ''" in command("cell", "").err


def test_sync_of_a_suite_that_never_ran_has_nothing_to_send(
    command: Any, file: Callable[..., Path], here: Path
) -> None:
    assert command("sync", file()) == (0, "nothing to send: no cell of looked has run\n", "")
    assert not (here / "workspace" / "mlflow.db").exists()


def test_what_was_asked_for_leaves_out_the_rest_of_the_suite(file: Callable[..., Path], here: Path) -> None:
    cells = prepare(file(), Workspace.at(None).artifacts).plan.cells
    assert requested(RunRequest(), cells, []) == cells
    some = requested(RunRequest(only="method=knn shots=5", skip="seed=0"), cells, [])
    assert {(cell.method.name, cell.shots, cell.seed) for cell in some} == {("knn", 5, 1), ("knn", 5, 2)}
    assert requested(RunRequest(only="failed"), cells, cells[:2]) == cells[:2]


def test_the_command_that_continues_forces_and_retries_nothing_twice() -> None:
    request = RunRequest(only="failed method='a b'", skip="seed=1", force="method=knn", retry_failed=True)
    again = command_to_continue(request, Path("my suite.yaml"), {"--workspace": None, "--reports": Path("out")})
    assert again == """tlbench run 'my suite.yaml' --only 'method='"'"'a b'"'"'' --skip seed=1 --reports out"""
    assert (
        command_to_continue(RunRequest(only="stale", address="auto"), Path("s.yaml"), {})
        == "tlbench run s.yaml --address auto"
    )


def test_of_many_notes_a_few_are_told(command: Any, file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(*args: Any) -> PreparedSuite:
        return replace(prepare(*args), warnings=tuple(f"pair {number}" for number in range(13)))

    monkeypatch.setattr("tlbench.planning.prepare.prepare", noted)
    said = command("check", file()).err
    assert said.count("pair ") == 10
    assert "and 3 more" in said
