"""Published figures beside ours: what a suite names is checked, held against the row it stands for, and shown."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from made_results import results, run
from rich.console import Console
from small_suites import planned, suite

from tlbench.cli.published_table import published_table
from tlbench.core.errors import UserError
from tlbench.planning.prepare import prepare
from tlbench.report import report_data, table
from tlbench.report.built_sections import build_sections
from tlbench.report.html import html
from tlbench.report.published import references_of
from tlbench.report.sections import published as section
from tlbench.store.artifacts import Artifacts

SEEDS = (0.80, 0.82, 0.84)


def reference(value: float, tolerance: float = 1.0, **more: Any) -> dict[str, Any]:
    row = {"method": "linear_probe", "dataset": "digits", **more.pop("row", {})}
    return {
        "value": value,
        "tolerance": tolerance,
        "source": "Somebody 2020, table 3",
        "protocol": "5 labels a class",
        "row": row,
        **more,
    }


def report(*references: dict[str, Any]) -> report_data.Report:
    runs = [run("linear_probe", accuracy, seed) for seed, accuracy in enumerate(SEEDS)]
    runs += [run("knn", accuracy - 0.1, seed) for seed, accuracy in enumerate(SEEDS)]
    runs += [run("lora(rank=8)", accuracy, seed) for seed, accuracy in enumerate(SEEDS)]
    text = json.dumps({**suite("made"), "references": list(references)}, indent=1)
    return report_data.build_report(replace(results(runs), suite_text=text))


def test_the_difference_is_ours_less_theirs_and_the_tolerance_decides() -> None:
    found = report(
        reference(81.5),
        reference(84.0),
        reference(83.0, 1.0),
        reference(50.0, differs="they had 10 labels a class"),
        reference(70.0, row={"method": "finetune"}),
        reference(81.0, row={"method": "lora"}),
    ).published
    assert [each.verdict for each in found] == ["agrees", "differs", "agrees", "not comparable", "not run", "agrees"]
    assert [each.difference for each in found[:4]] == pytest.approx([0.005, -0.02, -0.01, 0.32])
    assert found[4].ours is None
    assert found[5].ours is not None
    assert found[5].ours.method == "lora"


def test_the_page_has_a_section_of_them_and_a_mark_in_the_leaderboard() -> None:
    built = report(
        reference(81.5, standard_error=0.4),
        reference(95.0),
        reference(72.5, row={"method": "knn"}),
        reference(1.0, differs="<b>other</b>"),
    )
    sections = tuple(build_sections(built))
    assert not [each.failure for each in sections if each.failure]
    page = html(built, sections).text.replace("<wbr>", "")
    own = page[page.index('<section id="published"') :]
    own = own[: own.index("</section>")]
    assert "Of 3 published figures that were compared, 2 agree within their tolerance; 1 not comparable." in own
    for told in ("81.5 ± 0.4", "Somebody 2020, table 3", "5 labels a class", "82.0", "+0.5", "&lt;b&gt;other"):
        assert told in own
    assert "<b>other" not in page
    board = page[page.index('<section id="leaderboard"') :]
    board = board[: board.index("</section>")]
    assert "agrees with 1 of 2 published figures" in board
    assert "agrees with a published figure" in board
    (written,) = section.build(built).tables
    rows = list(csv.DictReader(StringIO(table.csv(written))))
    assert [row["verdict"] for row in rows] == ["agrees", "differs", "agrees", "not comparable"]
    assert float(rows[0]["ours"]) == pytest.approx(0.82)
    assert float(rows[0]["theirs_error"]) == pytest.approx(0.004)
    assert "ours_low" in rows[0]


def test_without_any_there_is_no_section_and_no_row_is_marked() -> None:
    built = report()
    assert not section.build(built).is_listed
    page = html(built, tuple(build_sections(built))).text
    assert "Published numbers" not in page
    assert "Leaderboard" in page
    assert "published figure</a>" not in html(built, tuple(build_sections(built))).text


def test_a_terminal_shows_them_too() -> None:
    out = Console(width=100, file=StringIO())
    out.print(published_table(report(reference(81.5), reference(84.0)).published))
    told = out.file.getvalue()  # type: ignore[attr-defined]
    assert "agrees" in told
    assert "differs" in told
    assert "Somebody 2020" in told


@pytest.mark.parametrize("text", ["", "name: x\nreferences: [", "name: x\nreferences: 3\n", "- references\n"])
def test_a_stored_text_that_is_cut_or_of_another_form_names_none(text: str) -> None:
    assert references_of(text) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"row": {"method": "linear_prob"}}, "no grid lists the method 'linear_prob'\n  did you mean 'linear_probe'?"),
        ({"row": {"dataset": "digit"}}, "no row of the suite has dataset 'digit'\n  did you mean 'digits'?"),
        ({"row": {"shots": 6}}, "no row of the suite has shots '6'"),
        ({"row": {"backbone": "resnet*"}}, "no row of the suite has backbone 'resnet*'"),
        ({"row": {"method": "knn"}}, "row fits 2 rows of the suite"),
        ({"value": 180}, "value"),
        ({"tolerance": 0}, "tolerance"),
        ({"sauce": "x"}, "unknown key 'sauce'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(changes: dict[str, Any], told: str, tmp_path: Path, decoded: Path) -> None:
    content = suite("named", {"methods": ["linear_probe", "knn", {"name": "knn", "params": {"temperature": 0.5}}]})
    content["references"] = [
        reference(80.0),
        {**reference(80.0), **changes} if "row" not in changes else reference(80.0, **changes),
    ]
    content["grids"][0]["methods"][1] = {"name": "knn", "params": {"temperature": 0.2}}
    path = tmp_path / "named.yaml"
    path.write_text(json.dumps(content, indent=1))
    with pytest.raises(UserError) as caught:
        prepare(path, Artifacts(decoded))
    assert told in str(caught.value)
    line = int(str(caught.value).partition("named.yaml:")[2].partition(":")[0])
    lines = path.read_text().splitlines()
    second = [number for number, each in enumerate(lines, 1) if '"value"' in each or '"sauce"' in each][1]
    assert line >= second - 1, "it is the second reference that is wrong"


def test_references_are_no_part_of_a_cell(tmp_path: Path, decoded: Path) -> None:
    plain = suite("plain", {"methods": ["linear_probe"]})
    named = {**plain, "references": [reference(80.0)]}
    assert [c.id for c in planned(named, tmp_path, decoded)] == [c.id for c in planned(plain, tmp_path, decoded)]
