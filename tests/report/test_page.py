"""The written report: values, escaping, files, and the page in a real browser."""

from __future__ import annotations

import csv
import html
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import made_results
import pandas as pd
import pytest
from demo_suite import BONUS, BOOM, FOLLY, SEEDS, accuracy
from rich.console import Console

from tlbench.audit.results import Audit, AuditedCell, CheckResult, Overlap
from tlbench.cli.leaderboard_table import terminal_table
from tlbench.report import html as rendered
from tlbench.report import page, report_data, trials
from tlbench.report import table as writers
from tlbench.report.built_sections import build_sections
from tlbench.report.notes import TRANSDUCTIVE
from tlbench.report.results import Results
from tlbench.store.mlflow import schema as mlflow_layout

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def written(store: str, tmp_path_factory: pytest.TempPathFactory) -> page.Paths:
    """The report of the suite ``demo``."""
    return page.write("demo", store, tmp_path_factory.mktemp("reports"))


def test_all_files_are_written_and_no_draft_is_left(written: page.Paths) -> None:
    assert written.index == written.folder / "index.html"
    assert sorted(path.name for path in written.folder.iterdir()) == sorted(path.name for path in written.files)
    tables = ("leaderboard", "settings", "datasets", "costs", "pairwise", "examples", "spread", "left_out")
    kinds = ("csv", "md", "tex")
    names = {"index.html", "records.parquet"} | {f"{name}.{kind}" for name in tables for kind in kinds}
    names |= {f"reproduction.{kind}" for kind in kinds}
    figures = ("heat", "shots", "cost", "pairwise", "curves", "seeds")
    names |= {f"{name}.{kind}" for name in figures for kind in ("svg", "pdf")}
    assert {path.name for path in written.files} == names
    assert all(path.read_bytes().startswith(b"%PDF") for path in written.files if path.suffix == ".pdf")
    assert all(path.read_text().startswith("<svg") for path in written.files if path.suffix == ".svg")


def test_leaderboard_csv_holds_the_means(written: page.Paths) -> None:
    with (written.folder / "leaderboard.csv").open() as lines:
        rows = {row["method"]: row for row in csv.DictReader(lines)}

    def mean(method: str) -> float:
        return sum(accuracy(method, *where, seed) for where in BONUS for seed in SEEDS) / 12

    for method, label in (("linear_probe", "linear_probe"), ("lora", "lora(rank=8)"), (FOLLY, FOLLY)):
        assert float(rows[method]["accuracy"]) == pytest.approx(mean(label))
        assert (rows[method]["method_label"], rows[method]["backbone_label"]) == (label, "resnet18/random")
    assert float(rows[FOLLY]["difference"]) == pytest.approx(mean(FOLLY) - mean("linear_probe"))
    assert (rows["patchy"]["rank"], rows["patchy"]["cells"], rows["patchy"]["cells_expected"]) == ("", "11", "12")
    assert [rows[name]["rank"] for name in ("lora", "linear_probe", FOLLY)] == ["1", "2", "3"]
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
    assert written.index.read_text().count(TRANSDUCTIVE) == 2  # its card, and its board
    frame = pd.read_csv(written.folder / "settings.csv")
    assert dict(zip(frame["method"], frame["protocol"], strict=True))["maml"] == "episodic, transductive"


def test_records_keep_every_cell(written: page.Paths) -> None:
    records = pd.read_parquet(written.folder / "records.parquet")
    assert len(records) == 50
    assert records["digest"].str.len().gt(0).all()


def test_names_and_messages_stay_text(written: page.Paths) -> None:
    whole = written.index.read_text()
    text = whole[: whole.index("<script>")].replace("<wbr>", "")
    assert FOLLY not in whole
    assert "&lt;script&gt;alert(&#39;method&#39;)&lt;/script&gt;" in text
    assert BOOM not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<b>episodes</b>" not in text
    specs = whole[whole.index('id="figures">') :]
    assert "\\u003cscript\\u003ealert" in specs, "the names are in the figures' data too"
    assert re.findall(r"<(?!/script>)", specs[: specs.index("</script>")]) == [], "nothing can close the script there"
    for name in ("leaderboard.md", "settings.md"):
        table = (written.folder / name).read_text()
        assert "<script>" not in table
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


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
        "baseline linear_probe",
        "--only",
        "No critical-difference diagram",
        "Nothing was searched",
        "This suite was not audited",
        "No cell of adaptation has a result.",
        "... 19 lines ...",  # of a traceback
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
    report = report_data.read_report("demo", store)
    console = Console(width=80, record=True, file=StringIO())
    console.print(terminal_table("demo", report.boards))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    lora = next(row for row in report.boards[0].rows if row.method == "lora")
    assert f"{100 * lora.accuracy.mean:.1f}" in text
    assert "lora" in text
    assert "lora(" not in text, "there is one lora"
    assert "11/12" in text
    assert "Not comparable" in " ".join(text.split())


@pytest.mark.parametrize("width", [36, 40, 59, 67])
def test_narrow_terminals_keep_the_names_of_rows_and_drop_other_columns(store: str, width: int) -> None:
    report = report_data.read_report("demo", store)
    console = Console(width=width, record=True, file=StringIO())
    console.print(terminal_table("demo", report.boards, width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    start = next(line.index("method") for line in text.splitlines() if "method" in line)
    names = "".join(line[start:].strip() for line in text.splitlines())  # long ones go over several lines
    assert all(row.method in names for board in report.boards for row in board.rows)
    assert all(f"{100 * row.accuracy.mean:.1f}" in text for board in report.boards for row in board.rows if row.rank)
    assert "a cell" not in text
    assert ("to baseline" in text) == (width >= 60)


def test_in_the_terminal_upper_bounds_are_called_so(store: str) -> None:
    board = report_data.read_report("demo", store).boards[0]
    bound = replace(board.rows[0], is_bound=True)
    console = Console(width=120, record=True, file=StringIO())
    console.print(terminal_table("demo", [replace(board, rows=(bound, *board.rows[1:]))]))
    assert console.export_text().count("(upper bound)") == 1


@pytest.mark.parametrize(
    ("planned", "done", "expected"), [(None, 1, "no plan"), (1, 2, "earlier version"), (2, 1, "not been run: 1 of 2")]
)
def test_coverage_warnings(planned: int | None, done: int, expected: str) -> None:
    frame = pd.DataFrame({"cell": range(done)})
    results = Results("s", "p", frame, {}, (), planned, (), "", "", ())
    assert any(expected in warning for warning in report_data._warnings(results, ()))


def test_a_suite_text_that_was_cut_is_said_to_be() -> None:
    told = mlflow_layout.experiment_tags("b", "name: x\n" * 9000, 1)[mlflow_layout.SUITE_TAG]
    whole, cut = (
        report_data._warnings(Results("s", "p", pd.DataFrame({"cell": [0]}), {}, (), 1, (), "", text, ()), ())
        for text in ("name: x", told)
    )
    assert whole == []
    assert ["stored in part" in warning for warning in cut] == [True]


def told(report: report_data.Report) -> str:
    """Return the page without its figures."""
    page = rendered.html(report, list(build_sections(report)))
    assert page.failures == ()
    return page.text[: page.text.index("<script>")]


def table(report: report_data.Report, name: str) -> str:
    """Return a table of the report as csv."""
    (found,) = [section.tables[name] for section in build_sections(report) if name in section.tables]
    return writers.csv(found)


def test_a_long_table_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [made_results.run(f"m{number}", 0.5 + number / 100, seed) for number in range(5) for seed in range(3)]
    report = report_data.build_report(made_results.results(runs))
    assert "The first" not in told(report)
    monkeypatch.setattr(rendered, "SHOWN", 2)
    text = told(report)
    assert text.count("The first 2 of 5 rows;") == 6  # leaderboard, datasets, settings, costs, spread, commands
    assert '<a href="leaderboard.csv">leaderboard.csv</a> holds all' in text
    assert len(table(report, "leaderboard").splitlines()) == 6


def test_names_break_behind_their_marks_and_are_escaped() -> None:
    broken = str(rendered._breakable('a_b(c=1): X -> Y</b> "&"'))
    bare = broken.replace("<wbr>", "").replace('<span class="whole">', "").replace("</span>", "")
    assert html.unescape(bare) == 'a_b(c=1): X -> Y</b> "&"'
    assert "</b>" not in broken
    assert broken.startswith("a_<wbr>b(<wbr>c=<wbr>1):<wbr> X ")
    assert '<span class="whole">-&gt;</span>' in broken


def test_an_audit_is_shown_and_its_names_stay_text() -> None:
    failed = CheckResult(check="test labels", verdict="failed", detail="<i>differ</i>")
    cell = AuditedCell(
        id="c", protocol="classification", method=FOLLY, backbone="b", dataset="d", shots="5", seed=0,
        method_source="", protocol_source="", checks=(failed,),
    )  # fmt: skip
    overlap = Overlap(
        test="<u>digits</u>", tests=200, against="train", trained=900, exact=2, near=1, same_class=3, expected=0.25,
        measure="pixels",
    )  # fmt: skip
    audit = Audit(
        suite="s", finished=0.0, version="1", commit="c", device="cpu", planned=1, cells=(cell,), overlaps=(overlap,)
    )
    text = told(report_data.build_report(made_results.results([made_results.run("a", 0.5)]), audit))
    assert "1 failed" in text
    assert "test labels (&lt;i&gt;differ&lt;/i&gt;)" in text
    assert "&lt;u&gt;digits&lt;/u&gt;" in text
    assert "1.5%" in text
    assert "25%" in text
    assert FOLLY not in text


def test_a_search_has_its_table_and_its_column() -> None:
    found = made_results.results([made_results.run("lora", 0.5 + seed / 100, seed) for seed in range(3)])
    name = trials.setting_name("classification", "lora", "resnet18/random", "digits", "5")
    where = ("classification", "resnet18/random", "digits", "5")
    values = ['{"lr": 0.1, "decay": null}', '{"lr": 1.23456e-05, "wd": "<b>"}']
    rest = (0, 1.0, 1, "", "", "accuracy", {}, "lora", "", "", 1.0, "GPU")
    rows = [
        (name, "lora", n, 0.6, 0.6, 1.0, float(n), "done", values[n > 1], n == 2, *where, *rest) for n in range(1, 17)
    ]
    searched = replace(found, trials=pd.DataFrame(rows, columns=list(trials.COLUMNS)))
    assert "Nothing was searched" in told(report_data.build_report(found))
    text = told(report_data.build_report(searched))
    assert "Nothing was searched" not in text
    assert "Chosen settings" in text
    assert 'data-key="16" data-column="trials" hidden>16</td>' in text
    assert 'data-key="16.0" data-column="search" hidden>16.0 GPU-s</td>' in text
    assert 'lr <span class="of">0.1 →</span> <b>1.23e-5</b>' in text
    assert 'decay <span class="of">none →</span> <b>not used</b>' in text
    assert 'wd <span class="of">not used →</span> <b>&lt;b&gt;</b>' in text
    exact = table(report_data.build_report(searched), "search")
    assert "1.23456e-05" in exact
    assert "validation: accuracy, %" in text
    assert 'data-label="Validation">60.0<small>default 60.0</small>' in text
    nats = searched.trials.assign(criterion="information", value=2.2134, best=2.2134)
    text = told(report_data.build_report(replace(searched, trials=nats)))
    assert "validation: information, nats" in text
    assert 'data-label="Validation">2.213<small>default 2.213</small>' in text
    assert "221.3" not in text
