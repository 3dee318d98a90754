"""The written report: values, escaping, files, and the page in a real browser."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from demo_suite import BONUS, BOOM, FOLLY, SEEDS, accuracy
from rich.console import Console

from tlbench.report import page
from tlbench.report.data import Results
from tlbench.report.terminal import terminal_table
from tlbench.report.text import TRANSDUCTIVE
from tlbench.store import mlflow_layout

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def written(store: str, tmp_path_factory: pytest.TempPathFactory) -> page.Paths:
    """The report of the suite ``demo``."""
    return page.write("demo", store, tmp_path_factory.mktemp("reports"))


def test_all_files_are_written_and_no_draft_is_left(written: page.Paths) -> None:
    assert written.index == written.folder / "index.html"
    assert sorted(path.name for path in written.folder.iterdir()) == sorted(path.name for path in written.files)
    names = {"index.html", "leaderboard.csv", "leaderboard.md", "settings.csv", "settings.md", "records.parquet"}
    assert {path.name for path in written.files} == names


def test_leaderboard_csv_holds_the_means(written: page.Paths) -> None:
    with (written.folder / "leaderboard.csv").open() as lines:
        rows = {row["method"]: row for row in csv.DictReader(lines)}

    def mean(method: str) -> float:
        return sum(accuracy(method, *where, seed) for where in BONUS for seed in SEEDS) / 12

    for method in ("linear_probe", "lora(rank=8)", FOLLY):
        assert float(rows[method]["accuracy"]) == pytest.approx(mean(method))
    assert float(rows[FOLLY]["difference"]) == pytest.approx(mean(FOLLY) - mean("linear_probe"))
    assert (rows["patchy"]["rank"], rows["patchy"]["cells"], rows["patchy"]["cells_expected"]) == ("", "11", "12")
    assert [rows[name]["rank"] for name in ("lora(rank=8)", "linear_probe", FOLLY)] == ["1", "2", "3"]
    assert "does not apply to episodic" in rows["protonet"]["difference_remark"]


def test_settings_csv_pools_episodes_and_leaves_nan_empty(written: page.Paths) -> None:
    frame = pd.read_csv(written.folder / "settings.csv")
    protonet = frame[frame["method"] == "protonet"].iloc[0]
    assert protonet["accuracy_episodes"] == pytest.approx((0.03**2 + 0.04**2) ** 0.5 / 2)
    assert frame["nll"].isna().all()  # unknown for two seeds: not the mean of the third
    assert len(frame) == 4 * 4 + 2


def test_transductive_rows_stand_on_a_board_of_their_own_which_says_what_that_means(written: page.Paths) -> None:
    board = (written.folder / "leaderboard.md").read_text().split("###")[-1]
    assert board.splitlines()[0] == " episodic, transductive: glyphs"
    assert TRANSDUCTIVE in board
    assert "| maml |" in board
    assert "protonet" not in board
    assert (written.folder / "leaderboard.md").read_text().count(TRANSDUCTIVE) == 1
    assert written.index.read_text().count(TRANSDUCTIVE) == 1
    frame = pd.read_csv(written.folder / "settings.csv")
    assert dict(zip(frame["method"], frame["protocol"], strict=True))["maml"] == "episodic, transductive"


def test_records_keep_every_cell(written: page.Paths) -> None:
    records = pd.read_parquet(written.folder / "records.parquet")
    assert len(records) == 50
    assert records["digest"].str.len().gt(0).all()


def test_names_and_messages_stay_text(written: page.Paths) -> None:
    text = written.index.read_text()
    assert FOLLY not in text
    assert "&lt;script&gt;alert(&#39;method&#39;)&lt;/script&gt;" in text
    assert BOOM not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<b>episodes</b>" not in text
    for name in ("leaderboard.md", "settings.md"):
        table = (written.folder / name).read_text()
        assert "<script>" not in table
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_pipe_in_a_name_does_not_break_a_markdown_row() -> None:
    from tlbench.report.flat import _markdown

    *_, last = _markdown(("a", "b"), [("x|y\nz", "*w*")], left=(0,)).splitlines()
    assert last == r"| x\|y z | \*w\* |"


def test_warnings_and_provenance_are_on_the_page(written: page.Paths) -> None:
    text = written.index.read_text()
    for told in (
        "cells that have not been run: 4 of 55",
        "cells that failed: 1",
        "the baseline linear_probe does not apply to episodic",
        "abc123",
        "2.15.0",
        "f" * 60 + "digi",
        "tlbench run demo.yaml",
        "baseline: linear_probe",
    ):
        assert told in text


def test_a_report_that_fails_leaves_the_former_one(
    store: str, written: page.Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in written.files}
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        page.write("demo", store, written.folder.parent)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in written.folder.iterdir()} == before


def test_a_suite_without_results_has_a_page(store: str, tmp_path: Path) -> None:
    paths = page.write("fewshot", store, tmp_path)
    assert "No cell has a result yet." in paths.index.read_text()
    assert (paths.folder / "leaderboard.csv").read_text().startswith("rank,protocol")


def test_terminal_table_fits_eighty_columns(store: str) -> None:
    report = page.gather("demo", store)
    console = Console(width=80, record=True, file=StringIO())
    console.print(terminal_table("demo", report.boards))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    lora = next(row for row in report.boards[0].rows if row.method == "lora(rank=8)")
    assert f"{100 * lora.accuracy.mean:.1f}" in text
    assert "lora(rank=8)" in text
    assert "11/12" in text
    assert "Not comparable" in " ".join(text.split())


@pytest.mark.parametrize(
    ("planned", "done", "expected"), [(None, 1, "no plan"), (1, 2, "earlier version"), (2, 1, "not been run: 1 of 2")]
)
def test_coverage_warnings(planned: int | None, done: int, expected: str) -> None:
    frame = pd.DataFrame({"cell": range(done)})
    results = Results("s", "p", frame, {}, (), planned, (), "", "", ())
    assert any(expected in warning for warning in page._warnings(results, ()))


def test_a_suite_text_that_was_cut_is_said_to_be() -> None:
    told = mlflow_layout.experiment_tags("b", "name: x\n" * 9000, 1)[mlflow_layout.SUITE_TAG]
    whole, cut = (
        page._warnings(Results("s", "p", pd.DataFrame({"cell": [0]}), {}, (), 1, (), "", text, ()), ())
        for text in ("name: x", told)
    )
    assert whole == []
    assert ["stored in part" in warning for warning in cut] == [True]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_a_browser(browser: Any, written: page.Paths, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 800})
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    tab.goto(written.index.as_uri())

    def column(number: int) -> list[str]:
        return [text.strip() for text in tab.locator(f"#settings tbody tr > :nth-child({number}) ").all_inner_texts()]

    assert tab.evaluate("document.documentElement.scrollWidth") <= width  # tables scroll, the page does not
    accuracy_heading = tab.get_by_role("button", name="Accuracy")
    accuracy_heading.click()
    best_first = [float(text.split()[0]) for text in column(4)]
    assert best_first == sorted(best_first, reverse=True)
    accuracy_heading.click()
    assert [float(text.split()[0]) for text in column(4)] == sorted(best_first)
    tab.get_by_role("button", name="p (Holm)").click()
    tested = [text for text in column(column_of(tab, "p (Holm)")) if text]
    first_empty = tested.index("–")
    assert set(tested[first_empty:]) == {"–"}
    tab.get_by_role("button", name="Shots").click()
    assert column(3)[0] == "full"
    assert tab.locator("#settings th[aria-sort=descending]").count() == 1
    assert FOLLY in tab.locator("#leaderboard").inner_text()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    tab.close()


def column_of(tab: Any, heading: str) -> int:
    """Return the number of the column under a heading, counted from one."""
    return [text.strip() for text in tab.locator("#settings thead th").all_inner_texts()].index(heading) + 1
