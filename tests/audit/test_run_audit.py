"""Which cells an audit takes, and what it keeps of an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from audited_cells import TINY
from small_suites import CORPUS, PLAIN, planned, suite

from tlbench.audit.run_audit import audit, cheapest_cells
from tlbench.audit.storage import audit_file, read_audit, write_audit
from tlbench.core.cost import Timing, Timings
from tlbench.core.errors import UserError
from tlbench.planning.prepare import prepare
from tlbench.store.artifacts import Artifacts
from tlbench.store.workspace import Workspace


def test_the_sample_is_the_cheapest_of_each_method_and_protocol(tmp_path: Path, decoded: Path) -> None:
    pretrained = {**TINY, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 77}}}
    grid = {
        "methods": ["knn", "linear_probe"],
        "backbones": [pretrained, TINY, PLAIN],
        "shots": ["full", 5, 1],
        "seeds": 2,
    }
    cells = planned(suite("sampled", grid), tmp_path, decoded)
    names = [(cell.method.name, cell.backbone.info.label, cell.shots) for cell in cells]
    slow = [Timing(*names[place][:2], "digits", "classification", names[place][2], 9.0) for place in range(len(names))]
    measured = [t if "width=8" not in t.backbone else t._replace(seconds=1.0 + (t.shots != 5)) for t in slow]
    chosen = cheapest_cells(cells, Timings(measured), Artifacts(tmp_path))
    told = [(cell.method.name, cell.backbone.info.label, cell.shots, cell.seed) for cell in chosen]
    assert told == [("knn", "conv4(width=8)/random", 5, 0), ("linear_probe", "conv4(width=8)/random", 5, 0)]
    unmeasured = cheapest_cells(cells, Timings(), Artifacts(tmp_path))
    assert {(cell.backbone.info.weights, cell.shots) for cell in unmeasured} == {("random", 1)}


def test_an_audit_is_kept_and_joined_by_later_ones_of_the_same_code(
    tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    file = tmp_path / "kept.yaml"
    file.write_text(json.dumps(suite("kept", {"methods": ["knn", "nearest_centroid"], "backbones": [TINY]})))
    workspace = Workspace.at(tmp_path / "workspace")
    prepared = prepare(file, workspace.artifacts)
    assert read_audit(workspace.root, "kept") is None

    first, path = audit(prepared, workspace, "method=knn seed=1")
    assert path == audit_file(workspace.root, "kept")
    assert read_audit(workspace.root, "kept") == first
    assert [cell.method for cell in first.cells] == ["knn"]
    second, _ = audit(prepared, workspace, "method=nearest_centroid seed=0")
    assert [cell.method for cell in second.cells] == ["knn", "nearest_centroid"]
    assert second.summary == "audited: 2 of 4 cells, all passed"
    assert not workspace.ledger().done(), "no result is written"

    older = second.cells[0].model_copy(update={"method_source": "older~code"})
    write_audit(workspace.root, second.model_copy(update={"cells": (older, second.cells[1])}))
    third, _ = audit(prepared, workspace, "method=nearest_centroid seed=1")
    assert [(cell.method, cell.seed) for cell in third.cells] == [("nearest_centroid", 0), ("nearest_centroid", 1)]

    path.write_text("{}")
    with pytest.raises(UserError, match="is no audit of this version"):
        read_audit(workspace.root, "kept")
