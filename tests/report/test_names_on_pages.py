"""Names of rows on pages, in the terminal and in comparisons: one function, and what a suite gives comes first."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from made_results import results, run
from rich.console import Console

from tlbench.cli.leaderboard_table import terminal_table
from tlbench.core.planned_setting import PlannedSetting
from tlbench.report.built_sections import build_sections
from tlbench.report.comparison.selections import compare_selections
from tlbench.report.html import html
from tlbench.report.report_data import build_report
from tlbench.report.results import Results

LABELS = ("lora(epochs=20, rank=8)", "lora(epochs=20)", "knn(k=3)")
BACKBONE, DATASET = "timm:tf_efficientnet_lite0(image_size=96)/in1k", "texts(clinc150)/banking"


def named(**names: str) -> Results:
    """Three methods on one backbone and dataset; the first has a name of its own where one is given."""
    runs = [
        run(label, 0.5 + place / 10 + seed / 100, seed, DATASET, backbone_label=BACKBONE)
        for place, label in enumerate(LABELS)
        for seed in range(3)
    ]
    mark = runs[0].params["dataset_fingerprint"]
    settings = tuple(
        PlannedSetting(
            "classification", "{}", label, BACKBONE, DATASET, "5", (0, 1, 2), mark, **(names if not n else {})
        )
        for n, label in enumerate(LABELS)
    )
    return replace(results(runs, baseline="knn(k=3)"), planned_settings=settings)


def test_rows_are_called_alike_everywhere() -> None:
    report = build_report(named())
    names = {"lora(rank=8)", "lora", "knn"}
    (board,) = report.boards
    assert {row.method for row in board.rows} == names == {row.method for row in report.settings}
    assert {row.backbone for row in board.rows} == {"tf_efficientnet_lite0"}
    assert board.datasets == ("clinc150/banking",)
    assert board.baseline.label == "knn", "the suite's own label of it is known"
    assert {row.in_full for row in board.rows} == {f"{label} on {BACKBONE}" for label in LABELS}
    console = Console(width=100, file=StringIO())
    console.print(terminal_table("made", report.boards))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "lora(rank=8)" in told
    assert "epochs" not in told
    (compared,) = compare_selections("lora(epochs=20, rank=8)", "knn", named()).protocols
    assert (compared.ours, compared.theirs) == ("lora(rank=8)", "knn")
    sections = list(build_sections(report))
    page = html(report, sections).text
    assert f'title="lora(epochs=20, rank=8) on {BACKBONE}"' in page
    assert f"label=&#34;lora(epochs=20, rank=8)&#34; backbone=&#34;{BACKBONE}&#34;" in page, "commands need it whole"
    heat = next(each for each in sections if each.name == "datasets").figures["heat"].data
    assert set(heat["row"]) == names, "one backbone needs no word"


def test_a_name_that_the_suite_gives_is_the_rows_name() -> None:
    report = build_report(named(method_name="Low rank", backbone_name="Lite0"))
    assert {row.method for row in report.boards[0].rows} == {"Low rank", "lora", "knn"}
    assert {row.backbone for row in report.boards[0].rows} == {"Lite0"}
    assert report.coverage.missing == 0, "planned and finished cells meet under one name"
