"""``tlbench.rescore`` and the command over it: another metric from the answers that were kept, and what has none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from looked_suite import commit, suite

import tlbench
from tlbench import cli
from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.core.record import Outcome
from tlbench.store.answers import logits_hash, pack_answers
from tlbench.store.workspace import Workspace

LABELS = np.arange(60) % 10


def answered(cell: Cell) -> Outcome:
    """Return an outcome whose answers are kept: of kNN all right and hardly sure, of the other three quarters right."""
    knn = cell.method.name == "knn"
    answers = LABELS if knn else (LABELS + (np.arange(60) % 4 == 0)) % 10
    logits = np.full((60, 10), -4.0, "<f4")
    logits[np.arange(60), answers] = -3.9 if knn else 4.0
    logits[0, 9] -= 0.001 * (10 * int(cell.shots) + cell.seed)  # no two cells give the same
    name, accuracy = logits_hash(logits), float((answers == LABELS).mean())
    Workspace.at(None).answers.add(name, pack_answers(logits, LABELS))
    return Outcome(scores={"accuracy": accuracy}, tests=60, logits=name)


@pytest.fixture
def done(here: Path) -> Path:
    """A suite of twelve cells, of which two have no answers."""
    path = here / "looked.yaml"
    path.write_text(json.dumps(suite() | {"baseline": "knn"}))
    commit(path, 10, outcome=answered)
    commit(path, 2)
    tlbench.run(path)
    return path


def command(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    monkeypatch.setattr(sys, "argv", ["tlbench", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_another_metric_may_turn_the_order(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_accuracy, by_loss = (tlbench.rescore(done, metric) for metric in ("balanced_accuracy", "log_loss"))
    assert by_accuracy.loc[0, ["method", "score"]].tolist() == ["knn", pytest.approx(1.0)]
    loss = by_loss.set_index("method")["score"]
    sure = 0.75 * np.log1p(9 * np.exp(-8)) + 0.25 * (8 + np.log1p(9 * np.exp(-8)))
    assert loss["nearest_centroid"] == pytest.approx(sure, rel=1e-3)
    assert loss["knn"] == pytest.approx(np.log(np.exp(0.1) + 9) - 0.1, rel=1e-3)
    assert loss.idxmin() == "nearest_centroid", "though kNN is always right"
    assert set(by_loss["metric"]) == {"log_loss"}
    capsys.readouterr()
    file = done.with_name("auroc.csv")
    assert command(monkeypatch, "rescore", done, "--metric", "auroc", "--csv", file) == 0
    said = capsys.readouterr().out
    assert "looked: test AUROC in %" in said
    assert "left out: 2 of 12 cells, whose test answers were not kept" in said
    frame = pd.read_csv(file)
    assert len(frame) == 10
    assert frame.groupby("method")["test_auroc"].mean()["knn"] == pytest.approx(1)
    assert command(monkeypatch, "rescore", done, "--metric", "auroc", "--csv", file) == 2
    assert "there is such a file" in capsys.readouterr().err


def test_what_cannot_be_scored_is_said(done: Path) -> None:
    with pytest.raises(UserError, match="unknown metric 'aurok'") as refused:
        tlbench.rescore(done, "aurok")
    assert "auroc" in refused.value.hint
    for file in (Workspace.at(None).root / "answers").rglob("*.npz"):
        file.unlink()
    with pytest.raises(UserError, match="looked: no cell has test answers that auroc could be computed from"):
        tlbench.rescore(done, "auroc")
