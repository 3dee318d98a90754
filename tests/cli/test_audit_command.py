"""``tlbench audit`` as a user meets it: what it prints, keeps and exits with; and results that code has left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from outside_plugins import forget_plugins, installed, write_package

from tlbench.audit.storage import read_audit
from tlbench.planning.prepare import prepare
from tlbench.store.ledger import Ledger
from tlbench.store.workspace import Workspace
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

METHOD = '''"""Class means of frozen features, {about}."""

from __future__ import annotations

import torch

from tlbench.core.config import MethodConfig
from tlbench.training.predictor import FeaturePredictor
from tlbench_theirs.shared import scale

PROTOCOLS = ("classification", "graded")
FROZEN_BACKBONE = True


class Config(MethodConfig):
    pass


def fit(task, backbone, cfg, ctx):
    z, labels = ctx.frozen_features(task.train), torch.from_numpy(task.train.labels)
    centre = torch.stack([z[labels == label].mean(0) for label in range(task.info.classes)])
    {more}
    return FeaturePredictor(backbone, lambda q: -scale(torch.cdist(q, centre)), 0, 0)
'''
PEEK = "centre += ctx.features._dataset.y[ctx.features._dataset.part == 2][::7].sum() / 1e6"
PROTOCOL = '''"""Classification under another name."""

from __future__ import annotations

from tlbench.core.config import Settings
from tlbench.protocols import classification

VERSION = 1


class Options(Settings):
    pass


def run(info, dataset, seed, fit, ctx):
    return classification.run(info, dataset, seed, fit, ctx)
'''
SHARED = "def scale(x):\n    return 2 * x\n\n\ndef unused(x):\n    return x\n"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A package with a method, a leaky method and a protocol; the folder of its files."""
    modules = {
        "means": METHOD.format(about="of theirs", more="pass"),
        "peeking": METHOD.format(about="and a hint", more=PEEK),
        "graded": PROTOCOL,
        "shared": SHARED,
    }
    points = {"methods": ["means", "peeking"], "protocols": ["graded"]}
    return write_package(tmp_path / "installed", "tlbench_theirs", modules, points) / "tlbench_theirs"


@pytest.fixture
def findable(theirs: Path) -> Iterator[Path]:
    """The same, to be found by this process."""
    with installed(theirs.parent):
        yield theirs


def grid(*methods: str, protocol: str = "classification", seeds: int = 2) -> dict[str, Any]:
    backbone = {"name": "conv4", "width": 4}
    shared = {"backbones": [backbone], "datasets": ["digits"], "shots": [2, 5], "seeds": seeds}
    return {"protocol": protocol, "methods": list(methods), **shared}


def test_a_sample_is_audited_and_kept(here: Path, command: Any, write_suite: Callable[[dict[str, Any]], Path]) -> None:
    file = write_suite({"name": "clean", "grids": [grid("knn", "nearest_centroid")]})
    said = command("audit", file)
    assert said.code == 0, said.err
    assert said.out.count("test labels passed · batches passed · labels beyond the budget passed") == 2
    assert "digits: test part" in said.out
    assert "audited: 2 of 8 cells, all passed" in said.out
    kept = read_audit(here / "workspace", "clean")
    assert kept is not None
    assert {(cell.method, cell.shots) for cell in kept.cells} == {("knn", 2), ("nearest_centroid", 2)}

    shown = command("audit", file, "--only", "method=knn shots=5 seed=1", "--json")
    assert shown.code == 0
    told = json.loads(shown.out)
    assert [(cell["method"], cell["shots"]) for cell in told["cells"][-1:]] == [("knn", 5)]
    assert len(told["cells"]) == 3


def test_a_leak_is_named_and_ends_with_one(
    here: Path, findable: Path, command: Any, write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    said = command("audit", write_suite({"name": "leaky", "grids": [grid("means", "peeking", seeds=1)]}))
    assert said.code == 1
    assert "classification: peeking | conv4(width=4)/random | digits | 2 shots | seed 0" in said.out
    assert "test labels FAILED · batches passed" in said.out
    assert "test labels: differs in model.head.centre.content" in said.out
    assert "audited: 2 of 4 cells, 1 failed" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("only", "message"),
    [("method=kn", "no cell of the suite fits 'method=kn'"), ("stale", "'stale' is not understood")],
)
def test_a_selector_that_picks_nothing_is_a_user_error(
    here: Path, command: Any, write_suite: Callable[[dict[str, Any]], Path], only: str, message: str
) -> None:
    said = command("audit", write_suite({"name": "none", "grids": [grid("knn")]}), "--only", only)
    assert said.code == 2
    assert message in said.err


def started(workspace: Path) -> dict[str, tuple[str, float]]:
    with Ledger(workspace / "ledger.sqlite") as ledger:
        return {
            record.id: (f"{record.cell.protocol}/{record.cell.method}", record.cost.started)
            for record in ledger.records()
        }


def run_here(file: Path, workspace: Workspace) -> None:
    """Run all cells of a suite in this process and commit their records."""
    cells = {cell.id: cell for cell in prepare(file, workspace.artifacts).plan.cells}
    cache = WorkerCache(workspace.artifacts, torch.device("cpu"))
    with workspace.ledger() as ledger:
        for name, attempt in ledger.lease(cells, "this test", 300).items():
            assert ledger.commit(run_cell(cells[name], cache), attempt)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_results_of_changed_code_are_listed_marked_and_refreshed(
    here: Path, findable: Path, tlbench: Any, command: Any, write_suite: Callable[[dict[str, Any]], Path]
) -> None:
    grids = [grid("nearest_centroid", "means", seeds=1), grid("means", protocol="graded", seeds=1)]
    file, workspace = write_suite({"name": "aging", "grids": grids}), here / "workspace"
    env = {"PYTHONPATH": os.pathsep.join([str(findable.parent), os.environ.get("PYTHONPATH", "")])}

    def plan() -> dict[str, int]:
        forget_plugins("tlbench_theirs")
        told = json.loads(command("plan", file, "--json").out)
        return {name: told[name] for name in ("done", "stale", "todo")}

    def edit(name: str, old: str, new: str) -> None:
        text = (findable / name).read_text()
        assert text.count(old) == 1
        (findable / name).write_text(text.replace(old, new))

    run_here(file, Workspace.at(workspace))
    assert command("sync", file).code == 0
    first = started(workspace)
    assert len(first) == 6
    edit("means.py", "Class means", "The class means")
    edit("shared.py", "def unused(x):\n    return x", "def unused(x):\n    return -x")
    assert plan() == {"done": 6, "stale": 0, "todo": 0}, "what cannot change a result makes none stale"

    edit("shared.py", "2 * x", "3 * x")
    assert plan() == {"done": 2, "stale": 4, "todo": 0}, "code that the method's file only imports is seen"
    edit("shared.py", "3 * x", "2 * x")
    edit("graded.py", "return classification", "info = info\n    return classification")
    assert plan() == {"done": 4, "stale": 2, "todo": 0}
    edit("shared.py", "2 * x", "4 * x")

    forget_plugins("tlbench_theirs")
    shown = command("report", "aging")
    assert "stale results, made by code that has changed since: 4 cells" in shown.err
    assert "nothing left to run" in command("run", file).out
    assert started(workspace) == first, "stale results are kept until they are asked for"

    again = tlbench("run", file.name, "--only", "stale", env=env)
    assert again.returncode == 0, again.stderr
    second = started(workspace)
    changed = {second[cell][0] for cell in second if second[cell] != first[cell]}
    assert changed == {"classification/means", "graded/means"}
    assert sum(second[cell] != first[cell] for cell in second) == 4
    assert plan() == {"done": 6, "stale": 0, "todo": 0}
    assert "stale" not in command("report", "aging").err
