"""``tlbench export`` and ``tlbench predict`` as a user meets them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from one_process import done, new_cache
from PIL import Image
from small_suites import suite

from tlbench.cli.export import export
from tlbench.cli.predict import predict
from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.planning.prepare import prepare
from tlbench.planning.select_result import select_result, suite_file_of
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger, SuiteFile

METHODS = ["linear_probe", "nearest_centroid"]


@pytest.fixture
def run(tmp_path: Path, decoded: Path, write_suite: Callable[[dict[str, Any]], Path]) -> list[Record]:
    """A suite of two methods and two seeds that has run in the user's workspace."""
    file = write_suite(suite("small", {"methods": METHODS}))
    cells = prepare(file, Artifacts(decoded)).plan.cells
    cache = new_cache(decoded)
    records = [done(cell, cache) for cell in cells]
    (tmp_path / "workspace").mkdir()
    with Ledger(tmp_path / "workspace" / "ledger.sqlite") as ledger:
        leases = ledger.lease([cell.id for cell in cells], "me", 60)
        for record in records:
            assert ledger.commit(record, leases[record.id])
        ledger.claim("small", leases, {})
        ledger.note_suite_file("small", SuiteFile(file, frozenset()))
    return records


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Path:
    """The user's folder."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def images(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), 80 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


def test_from_a_result_to_a_table_of_answers(
    tmp_path: Path, run: list[Record], tlbench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, model = images(tmp_path / "photos"), tmp_path / "model"
    made = tlbench("export", "method=linear_probe seed=0", "--to", "model")
    assert made.returncode == 0, made.stderr
    assert "bit for bit" in made.stdout
    assert "as weights are not kept with results" in made.stderr
    card = (model / "README.md").read_text()
    (first, other) = (record for record in run if record.cell.method == "linear_probe")
    assert first.outcome is not None
    assert other.outcome is not None
    mean = np.mean([first.outcome.scores["accuracy"], other.outcome.scores["accuracy"]])
    own = first.outcome.scores["accuracy"] if first.cell.seed == 0 else other.outcome.scores["accuracy"]
    assert f"{own:.4f} (mean of 2 seeds {mean:.4f}, 95% from" in card
    predict(model, photos, tmp_path / "answers.csv", batch_size=2)
    with (tmp_path / "answers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["0.png", "1.png", "2.png"]
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    (photos / "bad.png").write_bytes(b"no image")
    capsys.readouterr()
    with pytest.raises(typer.Exit) as end:
        predict(model, photos)
    assert end.value.exit_code == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "name,label,probability,confidence"
    assert len(shown.out.splitlines()) == 4
    assert "passed over bad.png" in shown.err
    assert "1 of 4 inputs were passed over" in shown.err


def ask(**more: Any) -> None:
    given = {"selector": "", "to": Path("model")} | more
    export(**given)


def test_nothing_is_overwritten_unasked(here: Path, run: list[Record]) -> None:
    ask(selector=run[0].id)
    before = (here / "model" / "tlbench.json").read_bytes()
    with pytest.raises(UserError, match="model: is not empty"):
        ask(selector=run[0].id)
    assert (here / "model" / "tlbench.json").read_bytes() == before
    (here / "model" / "old").touch()
    ask(selector=run[1].id[:8], overwrite=True)
    assert json.loads((here / "model" / "tlbench.json").read_text())["provenance"]["cell"] == run[1].id
    assert not (here / "model" / "old").exists()
    assert [path.name for path in here.glob(".model*")] == []
    images(here / "photos")
    with pytest.raises(UserError, match="is no exported model, and is not overwritten"):
        ask(selector=run[0].id, to=Path("photos"), overwrite=True)
    with pytest.raises(UserError, match="there is no folder"):
        ask(selector=run[0].id, to=Path("no/such"))
    (here / "answers.csv").write_text("mine")
    with pytest.raises(UserError, match=r"answers\.csv: is there already"):
        predict(Path("model"), Path("photos"), Path("answers.csv"))
    assert (here / "answers.csv").read_text() == "mine"
    predict(Path("model"), Path("photos"), Path("answers.csv"), overwrite=True, device="cpu")
    assert (here / "answers.csv").read_text().startswith("name,label")
    (here / "none").mkdir()
    with pytest.raises(UserError, match="there are no images"):
        predict(Path("model"), Path("none"), Path("other.csv"))
    assert not (here / "other.csv").exists()


@pytest.mark.parametrize(
    ("selector", "message", "hint"),
    [
        ("method=linear_probe", "matches 2 models, which differ in their seed: 0, 1", "add seed=0"),
        ("seed=0", "matches 2 models:\n  id=", "one of these ids"),
        ("method=linear_prob seed=0", "no result fits 'method=linear_prob'", "did you mean 'linear_probe'?"),
        ("method=linear_probe seed=7", "no result fits 'seed=7'", "seed: "),
        ("method=linear_probe metod=x", "unknown field 'metod'", "did you mean 'method'?"),
        ("zzz", "no cell's id begins so", "method=lora* seed=0"),
        ("", "no cell's id begins so", "give an id"),
    ],
)
def test_a_selector_means_one_model(here: Path, run: list[Record], selector: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        ask(selector=selector)
    assert message in error.value.message
    assert hint in error.value.hint


def test_the_suite_is_found_again_or_asked_for(here: Path, run: list[Record]) -> None:
    with Ledger(here / "workspace" / "ledger.sqlite") as ledger:
        record, others = select_result(run[0].id, ledger)
        assert record.digest == run[0].digest
        assert [each.cell.seed for each in others] == [1 - record.cell.seed]
        assert suite_file_of(record, ledger) == here / "small.yaml"
        (here / "small.yaml").rename(here / "moved.yaml")
        with pytest.raises(UserError, match="is not there") as error:
            suite_file_of(record, ledger)
        assert "--suite FILE" in error.value.hint
    ask(selector=run[0].id, suite=Path("moved.yaml"))
    (here / "moved.yaml").write_text(json.dumps(suite("small", {"methods": ["knn"]})))
    with pytest.raises(UserError, match="the suite has no cell"):
        ask(selector=run[0].id, suite=Path("moved.yaml"))


def test_without_results_there_is_nothing_to_export(here: Path) -> None:
    with pytest.raises(UserError, match="nothing has run here"):
        ask(selector="seed=0")
