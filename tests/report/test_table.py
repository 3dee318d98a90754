"""Tables as csv, markdown and TeX, whatever stands in a name."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from tlbench.report import table as tables
from tlbench.report.table import Bold, Table, TablePart
from tlbench.report.table_tex import tex

NASTY = r"a|b & 100% of #1 {x} \input{/etc/passwd} ~^$_<b>\"q\" [0pt]"


@pytest.fixture
def table() -> Table:
    part = TablePart("A *title*", ("name", "mean %"), [(NASTY, Bold("93.4 ± 0.8")), ("[x", "−1.0 †")], (0,), "A note.")
    return Table("t", [{"name": NASTY, "mean": 1 / 3}, {"name": "x\ny", "mean": None}], ("name", "mean"), [part])


def test_csv_keeps_names_and_precision(table: Table) -> None:
    rows = list(csv.DictReader(StringIO(tables.csv(table))))
    assert [row["name"] for row in rows] == [NASTY, "x\ny"]
    assert float(rows[0]["mean"]) == 1 / 3
    assert rows[1]["mean"] == ""


def test_an_empty_table_has_its_columns_and_says_so() -> None:
    empty = Table("t", [], ("name", "mean"), [])
    assert tables.csv(empty) == "name,mean\n"
    assert tables.markdown(empty) == "No results.\n"
    assert "no results" in tex(empty)
    assert not empty


def test_markdown_leaves_no_markup_in_a_name(table: Table) -> None:
    lines = tables.markdown(table).splitlines()
    assert lines[0] == r"### A \*title\*"
    rows = [line for line in lines if line.startswith("|")]
    assert rows[1] == "| --- | ---: |"
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "**93.4 ± 0.8**" in rows[2]
    assert "<b>" not in rows[2]


def test_tex_is_a_booktabs_table_in_which_no_name_is_a_command(table: Table) -> None:
    lines = tex(table).splitlines()
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"\begin{tabular}{lr}" in lines
    head, first, second = [line for line in lines if line.endswith(r"\\")]
    assert head == r"name & mean \% \\"
    assert r"\textbackslash{}input\{/etc/passwd\}" in first
    assert r"\textbf{93.4 $\pm$ 0.8}" in first
    assert second == r"{[}x & $-$1.0 $^\dagger$ \\", "a bracket after the end of a row would be its option"
    for row in (first, second):
        assert len(re.findall(r"(?<!\\)&", row)) == 1
        assert not re.search(r"(?<!\\)[%#_]", row)


def test_letters_and_marks_in_tex() -> None:
    part = TablePart("", ("name",), [("日 β − -- ≤ \x07",)], (0,))
    lines = tex(Table("t", [{}], (), [part])).splitlines()
    assert r"\otherscript{日}{U+65E5} $\beta$ $-$ -{}- $\leq$ U+0007 \\" in lines
    assert lines[1].startswith(r"\providecommand{\otherscript}")
    latin = tex(Table("t", [{}], (), [TablePart("", ("né",), [("ß",)], (0,))]))
    assert "otherscript" not in latin


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
def test_tex_compiles(table: Table, tmp_path: Path, engine: str) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} here")
    letters = [f"U+{code:04X} {chr(code)}" for code in range(0x20, 0x250)]
    letters += ["−–—×≤≥≠≈±·°†→←↔∞…µ‘’“”", "αβγδλμσω", "日本語 Привет שלום عربي 😀", "a\u0301\u0323", "\u202e\u200b\x07"]
    every = Table(
        "e",
        [{}],
        (),
        [
            TablePart("日", ("letter",), [(letter,) for letter in letters[i : i + 40]], (0,))
            for i in range(0, len(letters), 40)
        ],
    )
    for name, each in (("t", table), ("e", every)):
        (tmp_path / f"{name}.tex").write_text(tex(each), encoding="utf-8")
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}"
    (tmp_path / "main.tex").write_text(head + r"\begin{document}\input{t}\input{e}\end{document}")
    done = subprocess.run(
        [engine, "-draftmode", "-interaction=nonstopmode", "main.tex"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert re.findall(rb"^!.*", done.stdout, re.MULTILINE) == []
    assert done.returncode == 0
