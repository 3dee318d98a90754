"""YAML text becomes plain values with exact lines, and everything else is refused with a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.core.errors import UserError
from tlbench.suite.yaml_source import parse, read


def test_scalars_follow_yaml_1_2() -> None:
    text = (
        "a: 1e-3\nb: no\nc: 0o14\nd: 012\ne: 1:30\nf: 2001-01-01\ng: ~\nh: true\ni: '1'\nj: 1_000\nk: .5\nl: -3\nm:\n"
    )
    assert parse(text, "f").value == {
        "a": 0.001, "b": "no", "c": 12, "d": 12, "e": "1:30", "f": "2001-01-01", "g": None, "h": True, "i": "1",
        "j": "1_000", "k": 0.5, "l": -3, "m": None,
    }  # fmt: skip


def test_a_directive_of_an_older_version_changes_nothing() -> None:
    assert parse("%YAML 1.1\n---\na: no\n", "f").value == {"a": "no"}


def test_lines_and_the_nearest_known_place() -> None:
    source = parse("# top\na:\n  - x\n  - b: 1\n    c: 2\n", "f")
    assert source.at(("a",)) == "f:2"
    assert source.at(("a", 1)) == "f:4"
    assert source.at(("a", 1, "c")) == "f:5"
    assert source.at(("a", "tuple", 1, "int", "c")) == "f:5"
    assert source.at(("a", 1, "missing")) == "f:4"


def test_anchors_stand_for_their_value() -> None:
    assert parse("a: &x [1, {b: 2}]\nc: *x\n", "f").value == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f:1: is empty"),
        ("# only a remark\n", "f:1: is empty"),
        ("a: 1\nb: 2\na: 3\n", "f:3: duplicate key 'a', first on line 1"),
        ("a:\n  b: 1\n  b: 2\n", "f:3: duplicate key 'b', first on line 2"),
        ("a: 1\n---\nb: 2\n", "f:2: a second document begins; a file holds one"),
        ("a: &x 1\nb:\n  <<: *x\n", "f:3: merge keys (<<) are not part of YAML 1.2"),
        ("a: !!python/object:os.system x\n", "f:1: the tag tag:yaml.org,2002:python/object:os.system"),
        ("a: *x\n", "f:1: *x stands for nothing"),
        ("a: &x [*x]\n", "f:1: *x stands for nothing"),
        ("a:\n  ? [1, 2]\n  : 3\n", "f:2: a key must be a plain word"),
        ("a: 1\n2: 3\n", "f:2: a key must be a word, not 2"),
        ("a: .nan\n", "f:1: .nan is not a finite number"),
        ("a: 1e999\n", "f:1: a number too large"),
        (f"a: {'9' * 5000}\n", "f:1: a number too large"),
        ("a: [1\nb: 2\n", "f:2: is not valid YAML: a comma is missing in the bracket [ of line 1, or it is not closed"),
        ("a: {b: 1\n", "f:2: is not valid YAML: the brace { of line 1 is not closed"),
        ("b: 2\na: 'x\n", "f:3: is not valid YAML: the text in quotes of line 2 is not closed"),
        ("a: 1\n\tb: 2\n", "f:2: is not valid YAML: a tab stands where only blanks may"),
        ("a:\n    b: 1\n  c: 2\n", "f:3: is not valid YAML: this is no part of the mapping of line 1"),
        ("a: b: c\n", "f:1: is not valid YAML: a colon stands where no key may"),
        ("{a: 1}}\n", "f:1: is not valid YAML: something follows the end of the suite"),
        ("a: @x\n", "f:1: is not valid YAML: '@' cannot begin a value"),
        ("a: [b]]\n", "f:1: is not valid YAML: a bracket or brace too many"),
        ('a: "\\ud800"\n', "f:1: half a character"),
        ("a: 1\nb: \x01\n", "f:2: is not valid YAML: it holds the sign U+0001"),
        ("a: " + "[" * 5000, "f:1: nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{k}: &{k} [{','.join(['*' + chr(ord(k) - 1)] * 10)}]\n" for k in "bcdefghi"), "more than 200,000 values"),
    ],
)  # fmt: skip
def test_refusals_name_the_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "f")
    assert message in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for endless, kind in ((tmp_path / "pipe", "is a named pipe, not a file"), (Path("/dev/zero"), "is a device")):
        with pytest.raises(UserError, match=kind):
            read(endless)
    with (tmp_path / "large.yaml").open("wb") as stream:
        stream.truncate(2**30)
    with pytest.raises(UserError, match="is larger than 32 MiB"):
        read(tmp_path / "large.yaml")
    file = tmp_path / "latin.yaml"
    file.write_bytes("name: x\nbaseline: é\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml:2: is not UTF-8"):
        read(file)
    file.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read(file).value == {"name": "x"}


@given(st.text(alphabet=st.sampled_from("ab01:-[]{}&*!|>'\"#%@?~<,.\n\t \\ue"), max_size=60))
def test_any_text_gives_a_value_or_a_user_error(text: str) -> None:
    assert _outcome(text).startswith("f:")


def _outcome(text: str) -> str:
    try:
        source = parse(text, "f")
    except UserError as error:
        return error.message
    last = max(source.lines.values())
    return "f: fine" if last <= text.count("\n") + 1 else f"line {last} is beyond the end"
