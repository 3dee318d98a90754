"""Every section keeps the contract, and what a section may not declare or return is refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import made_results
import pytest

from tlbench.core.errors import UserError
from tlbench.plugins.discovery import Plugin
from tlbench.report.built_sections import build_section, build_sections, load_sections
from tlbench.report.html import html
from tlbench.report.report_data import Report, build_report
from tlbench.report.section_plugins import load_section
from tlbench.testing import section_contract

WHOLE = """
from tlbench.report.section import Content

TITLE = "Toy"
ORDER = 65
TABLES = ()
FIGURES = ()


def build(report):
    return Content(notes=("a toy",))
"""


@pytest.mark.parametrize("name", section_contract.names())
@pytest.mark.parametrize("check", section_contract.CHECKS, ids=section_contract.title)
def test_contract(check: Callable[[str], None], name: str) -> None:
    check(name)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plugin]:
    """Return what writes a section's file, with one text in the place of another, and finds it."""
    monkeypatch.syspath_prepend(tmp_path)
    count = 0

    def plugin(old: str = "", new: str = "", name: str = "toy") -> Plugin:
        nonlocal count
        count += 1
        path = tmp_path / f"{tmp_path.name.replace('-', '_')}_{count}.py"
        assert old in WHOLE
        path.write_text(WHOLE.replace(old, new) if old else WHOLE + new)
        return Plugin(name, path.stem, path)

    return plugin


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(made_results.results([made_results.run("a", 0.5, seed) for seed in range(3)]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('TITLE = "Toy"', "", r"declares TITLE, which is missing here\n  TITLE is the heading"),
        ("ORDER = 65", 'ORDER = "first"', r"ORDER = 'first' is not what a section declares\n.*whole number"),
        ("ORDER = 65", "ORDER = True", "ORDER = True is not"),
        ('TITLE = "Toy"', 'TITLE = ""', "TITLE = '' is not"),
        ("TABLES = ()", 'TABLES = ["toy"]', r"TABLES = \['toy'\] is not"),
        ("FIGURES = ()", 'FIGURES = ("a/b",)', r"FIGURES = \('a/b',\) is not"),
        ("TABLES = ()", 'TABLES = ("toy", "toy")', "TABLES = .* is not"),
        ("ORDER = 65", "ORDER = 65\nTITEL = 1", r":6: a section does not declare TITEL\n.*did you mean 'TITLE'"),
        ("def build(report):", "def build(report, more):", r"build\(report, more\) is not what a section declares"),
        ("def build(report):", "def make(report):", "declares build, which is missing"),
    ],
)
def test_declarations_are_checked(write: Callable[..., Plugin], old: str, new: str, message: str) -> None:
    plugin = write(old, new)
    with pytest.raises(UserError, match=message) as error:
        load_section(plugin)
    assert str(error.value).startswith(str(plugin.path))


def test_a_name_that_cannot_be_an_id_is_refused(write: Callable[..., Plugin]) -> None:
    with pytest.raises(UserError, match="'my section' cannot be an id"):
        load_section(write(name="my section"))


def test_constants_of_its_own_begin_with_an_underscore(write: Callable[..., Plugin]) -> None:
    assert load_section(write(new="\n_MOST = 3\n")).title == "Toy"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('return Content(notes=("a toy",))', 'raise KeyError("left")', "KeyError: 'left'"),
        ('return Content(notes=("a toy",))', "return {}", "TypeError: build returned dict, not"),
        (
            'return Content(notes=("a toy",))',
            'from tlbench.report.table import Table\n    return Content(tables=(Table("other", [], (), []),))',
            "the table 'other' is not declared in TABLES",
        ),
    ],
)
def test_what_a_section_may_not_do_is_told_with_its_place(
    write: Callable[..., Plugin], report: Report, old: str, new: str, message: str
) -> None:
    plugin = write(old, new)
    found = build_section(load_section(plugin), report)
    assert found.failure is not None
    assert re.search(message, found.failure.error)
    assert found.failure.step == "built"
    assert found.failure.place.startswith(str(plugin.path))
    page = html(report, [found])
    assert page.failures == (found.failure,)
    assert "This section could not be built" in page.text
    assert '<a href="#toy">Toy</a>' in page.text


def test_sections_of_the_package_stand_in_the_order_of_the_page(report: Report) -> None:
    first, last = (
        "summary leaderboard published datasets classes shots backbones cost",
        "search pairwise curves adaptation reliability",
    )
    expected = [*first.split(), *last.split(), "provenance"]
    sections, failures = load_sections()
    assert [section.name for section in sections] == expected
    assert failures == ()
    assert [section.name for section in build_sections(report)] == expected
