"""A section of another distribution is on the page, and beside it, though nothing here knows of it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import made_results
import pytest
from outside_plugins import installed, write_package
from typer.testing import CliRunner

from tlbench.cli.app import app
from tlbench.core.errors import UserError
from tlbench.report import page
from tlbench.report.comparison.snapshots import freeze
from tlbench.report.report_data import Report, build_report

TOY = '''
"""How many cells each method has."""

from collections import Counter

import altair as alt
import pandas as pd

from tlbench.report.figure import Figure
from tlbench.report.section import Content
from tlbench.report.table import Table, TablePart

TITLE = "Toy & co"
ORDER = 65
TABLES = ("toy",)
FIGURES = ("toy",)


def build(report):
    counts = Counter(cell.method for cell in report.cells)
    records = [{"method": name, "cells": number} for name, number in counts.items()]
    body = [(name, str(number)) for name, number in counts.items()]
    table = Table("toy", records, ("method", "cells"), [TablePart("Cells", ("method", "cells"), body, (0,))])
    figure = Figure("toy", "Cells by method.", pd.DataFrame(records), chart)
    return Content((figure,), (table,), notes=("<b>a note</b>",))


def chart(data):
    bars = alt.Chart(data).mark_bar().encode(x=alt.X("cells:Q"), y=alt.Y("method:N"))
    return alt.layer(bars, data=data)
'''
BROKEN = TOY.replace("    counts =", '    raise ValueError("no <i>luck</i>")\n    counts =')
UNDRAWABLE = (
    TOY[: TOY.index("def chart")]
    + """
class chart:
    def __init__(self, data):
        pass

    def to_dict(self, validate):
        return {"mark": "nonsense"}
"""
)


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return what installs a package with one section, and returns the section's file."""
    with ExitStack() as installations:

        def put(name: str, text: str, template: str = "") -> Path:
            folder = write_package(tmp_path / "packages", "outside", {name: text}, {"report_sections": [name]})
            file = folder / "outside" / f"{name}.py"
            if template:
                file.with_suffix(".html.j2").write_text(template)
            installations.enter_context(installed(folder))
            return file

        yield put


@pytest.fixture(scope="module")
def report() -> Report:
    runs = [made_results.run(name, 0.5 + seed / 100, seed) for name in ("a", "<i>b</i>") for seed in range(3)]
    return build_report(made_results.results(runs, baseline="a"))


def test_its_table_and_figure_are_on_the_page_and_beside_it(
    install: Callable[..., Path], report: Report, tmp_path: Path
) -> None:
    install("toy", TOY)
    paths = page.save(report, tmp_path / "reports")
    assert paths.failures == ()
    assert {f"toy.{kind}" for kind in ("csv", "md", "tex", "svg", "pdf")} <= {path.name for path in paths.files}
    with (paths.folder / "toy.csv").open() as lines:
        assert {row["method"]: row["cells"] for row in csv.DictReader(lines)} == {"a": "3", "<i>b</i>": "3"}
    text = paths.index.read_text()
    order = [text.index(f'<section id="{name}"') for name in ("cost", "toy", "search")]
    assert order == sorted(order)
    assert '<li><a href="#toy">Toy &amp; co</a></li>' in text
    section = text[order[1] : order[2]].replace("<wbr>", "")
    assert "&lt;b&gt;a note&lt;/b&gt;" in section
    assert '<th scope="row">&lt;i&gt;b&lt;/i&gt;</th>' in section
    assert '<div class="chart" data-figure="toy">' in section
    assert '<a href="toy.csv" download>csv</a>' in text[text.index('<section id="provenance"') :]


def test_its_own_template_shows_it(install: Callable[..., Path], report: Report, tmp_path: Path) -> None:
    install("toy", TOY, "<p>{{ report.results.suite }} has {{ section.tables.toy.records | length }} methods</p>")
    text = page.save(report, tmp_path / "reports").index.read_text()
    assert "<p>made has 2 methods</p>" in text


def test_what_it_left_behind_is_removed(install: Callable[..., Path], report: Report, tmp_path: Path) -> None:
    install("toy", TOY)
    folder = page.save(report, tmp_path / "reports").folder
    nothing = build_report(made_results.results([]))
    page.save(nothing, tmp_path / "reports")
    assert list(folder.glob("toy.*")) == []


@pytest.mark.parametrize(
    ("text", "template", "told"),
    [
        (BROKEN, "", "could not be built: ValueError: no &lt;i&gt;luck&lt;/i&gt;"),
        (TOY, "{{ context.nothing }}", "could not be rendered: UndefinedError"),
        (TOY, "{% for %}", "could not be rendered: TemplateSyntaxError"),
        ("import no_such_module", "", "could not be loaded: ModuleNotFoundError"),
        (TOY.replace("ORDER = 65", ""), "", "could not be loaded: "),
        (TOY.replace('("toy",)', '("leaderboard",)', 1), "", "the table &#39;leaderboard&#39; belongs to the section"),
        (UNDRAWABLE, "", "could not be drawn: ValueError"),
    ],
)
def test_one_that_fails_says_so_and_takes_no_other_with_it(
    install: Callable[..., Path], report: Report, tmp_path: Path, text: str, template: str, told: str
) -> None:
    before = page.save(report, tmp_path / "before")
    file = install("toy", text, template)
    paths = page.save(report, tmp_path / "reports")
    (failure,) = paths.failures
    assert failure.section == "toy"
    assert file.stem in failure.place
    whole = paths.index.read_text()
    assert told in whole
    assert "Parts of this report could not be made" in whole
    for path in before.files:
        if path.suffix in (".csv", ".md", ".tex"):
            assert (paths.folder / path.name).read_bytes() == path.read_bytes()
    for name in ("summary", "leaderboard", "provenance"):
        start = f'<section id="{name}"'
        assert start in whole


def test_a_snapshot_must_be_whole(install: Callable[..., Path], report: Report, tmp_path: Path) -> None:
    install("toy", BROKEN)
    with pytest.raises(UserError, match=r"'toy' could not be built: ValueError.*\n.*kept for good"):
        freeze(report, "tag", tmp_path)
    assert list((tmp_path / "frozen").iterdir()) == []


def test_the_command_says_which_section_failed(
    install: Callable[..., Path], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("toy", BROKEN)
    monkeypatch.setenv("TLBENCH_WORKSPACE", str(tmp_path / "workspace"))
    command = ["report", "demo", "--tracking-uri", store, "--reports", str(tmp_path / "reports")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "the section 'toy' could not be built" in " ".join(done.output.split())
    assert (tmp_path / "reports" / "demo" / "index.html").is_file()
