"""Tables as people have them: other delimiters, other names of columns, two spellings of one label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import Dataset
from tlbench.store.artifacts import Artifacts

ROWS = [(f"good; film, {n}\t!", ("pos", "neg")[n % 2]) for n in range(10)]
COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def table(path: Path, delimiter: str = ",", text: str = "text", label: str = "label") -> Path:
    lines = [delimiter.join((text, label)), *(f'"{t}"{delimiter}{c}' for t, c in ROWS)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def opened(tmp_path: Path, path: Path, **params: Any) -> Dataset:
    return open_dataset("texts", {"path": str(path), **params}, Artifacts(tmp_path / "artifacts"))


def refusal(tmp_path: Path, path: Path, **params: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(tmp_path, path, **params)
    return str(caught.value)


@pytest.mark.parametrize(
    ("delimiter", "written", "shown"),
    [(";", ";", "';'"), ("\t", "tab", "tabs"), ("\t", "\t", "tabs"), ("|", "|", "'|'")],
)
def test_a_delimiter_is_named_in_the_error_and_read_when_given(
    tmp_path: Path, delimiter: str, written: str, shown: str
) -> None:
    path = table(tmp_path / "a.csv", delimiter)
    said = refusal(tmp_path, path)
    assert f"a.csv:1: its columns lie apart by {shown}, not by ','" in said
    assert f"add delimiter: '{'tab' if delimiter == chr(9) else delimiter}' to the dataset" in said
    plain = opened(tmp_path, table(tmp_path / "b.csv"))
    found = opened(tmp_path, path, delimiter=written)
    assert list(found.x) == [text for text, _ in ROWS]
    assert found.info.fingerprint == plain.info.fingerprint


def test_a_tsv_has_tabs_by_itself(tmp_path: Path) -> None:
    assert list(opened(tmp_path, table(tmp_path / "a.tsv", "\t")).x) == [text for text, _ in ROWS]
    assert "lie apart by ',', not by tabs" in refusal(tmp_path, table(tmp_path / "b.tsv"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("text", "label", "line"),
    [
        ("sentence", "target", "add text_column: sentence, label_column: target to the dataset"),
        ("text", "category", "add label_column: category to the dataset"),
        ("review", "label", "add text_column: review to the dataset"),
        ("zz", "label", "its columns are zz, label; add text_column: NAME to the dataset"),
        ("txt", "label", "did you mean 'txt'?"),
    ],
)
def test_columns_by_other_names(tmp_path: Path, kind: str, text: str, label: str, line: str) -> None:
    path = table(tmp_path / "a.csv", text=text, label=label)
    if kind == "jsonl":
        path = tmp_path / "a.jsonl"
        path.write_text("\n".join(json.dumps({text: t, label: c}) for t, c in ROWS))
    assert refusal(tmp_path, path).endswith(line)
    found = opened(tmp_path, path, text_column=text, label_column=label)
    plain = opened(tmp_path, table(tmp_path / "b.csv"))
    assert found.info.fingerprint == plain.info.fingerprint


def test_columns_and_delimiters_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    assert "the column 'label' is named for two things" in refusal(tmp_path, path, text_column="label")
    for delimiter in ("", ";;", '"', "\n"):
        assert "is not one character" in refusal(tmp_path, path, delimiter=delimiter)
    assert "there is no column 'texte'\n  did you mean 'text'?" in refusal(tmp_path, path, text_column="texte")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_two_spellings_of_a_label_are_one_class(tmp_path: Path, kind: str) -> None:
    rows = [(f"text {n}", (COMPOSED, DECOMPOSED, "th\u00e9")[n % 3]) for n in range(12)]
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text("\n".join(["text,label", *map(",".join, rows)]), encoding="utf-8")
    else:
        path.write_text("\n".join(json.dumps({"text": t, "label": c}) for t, c in rows))
    info = opened(tmp_path, path).info
    assert info.classes == (COMPOSED, "th\u00e9")
    assert sum(map(sum, info.counts.values())) == 12
    assert info.warnings == (f"the label {COMPOSED!r} is spelt in two ways in Unicode: read as one",)


def test_blanks_around_a_label_are_left_out_and_told_of_where_it_also_stands_without(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["text,label", *(f"t {n},{('a', ' a', 'b')[n % 3]}" for n in range(12))]))
    info = opened(tmp_path, path).info
    assert info.classes == ("a", "b")
    assert info.warnings == ("the label 'a' stands with and without blanks around it: read as one",)
    path.write_text("\n".join(["text, label", *(f"t {n}, {'ab'[n % 2]}" for n in range(8))]))
    assert opened(tmp_path, path).info.warnings == ()


def test_one_spelling_throughout_needs_no_note(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "\n".join(["text,label", *(f"t {n},{(DECOMPOSED, 'x')[n % 2]}" for n in range(8))]), encoding="utf-8"
    )
    info = opened(tmp_path, path).info
    assert (info.classes, info.warnings) == ((COMPOSED, "x"), ())
