"""Tables and JSON lines of texts, as programs and people write them, whole or damaged."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

_TEXTS = [
    "good", "bad film", "a, b", 'she said "no"', "two\nlines", "two\r\nlines", "semi; colon", "tab\there", "", " ",
    "é", "e\u0301",
    "🦉", "\u202eabc", "x" * 9000, "'", '"', "NA", "nan", "null", "=1+1", "\ufeffx", "a\u2028b", "a\x85b", "#", "\\",
    "a\x00b", "\x1f",
    "1", "-0.5", "true",
]  # fmt: skip
_LABELS = ["pos", "neg", "pos", "neg", "pos", "neg", "Pos", " pos", "neg\u00a0", "\u00e9", "e\u0301", "", "0", "1",
    "🦉", "a/b", "x" * 300, "nan", "\x1f"]  # fmt: skip
_SPLITS = [
    "train",
    "test",
    "val",
    "Train",
    "TEST",
    "valid",
    "validation",
    "dev",
    "training",
    "testing",
    "",
    "tset",
    "unlabeled",
]
_DOMAINS = ["web", "book", "e\u0301", "\u00e9", "", " web"]
_HEADERS: dict[str, list[str]] = {
    "text": ["text", "Text", " TEXT ", "sentence", "review", "\ufefftext", "", "label", "txt", '"text"'],
    "label": ["label", "Label", "LABEL ", "category", "target", "text", "lable", "y"],
    "split": ["split", "Split", "set", "label", "partition"],
    "domain": ["domain", "Domain", "source", "text", "id"],
}
_JSON: list[Any] = [None, 1, -3, 1.5, True, [], {}, ["a"], {"text": "x"}, 10**400, "\ud83e", "a\ud83e\udd89"]


@dataclass(frozen=True)
class Table:
    """A file and the parameters that go with it.

    Attributes:
        name: Of the file.
        content: Its bytes.
        params: Of the source ``texts`` beside the path.
        rows: Text, label and, where ``fields`` has them, split and domain of each record, where nothing was damaged.
        is_whole: Whether the file holds ``rows`` and nothing else, in UTF-8.
    """

    name: str
    content: bytes = field(repr=False)
    params: dict[str, Any]
    fields: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_whole: bool


@st.composite
def tables(draw: DrawFn) -> Table:
    """Return a table or JSON lines, in about half of the cases without a fault."""
    fields = ("text", "label", *(name for name in ("split", "domain") if draw(st.integers(0, 3)) == 3))
    clean = draw(st.booleans())
    rows = [_row(draw, fields, clean) for _ in range(draw(st.integers(0, 3) if not clean else st.integers(4, 12)))]
    if clean:  # each class twice in each split at least
        rows += rows * (1 + ("split" in fields))
    names = [name if clean or draw(st.integers(0, 5)) < 5 else draw(st.sampled_from(_HEADERS[name])) for name in fields]
    params: dict[str, Any] = {}
    suffix = draw(st.sampled_from([".csv", ".tsv", ".jsonl", ".ndjson", ".CSV"]))
    if suffix in (".jsonl", ".ndjson"):
        text, damaged = _json_lines(draw, names, rows, clean)
    else:
        usual = "\t" if suffix == ".tsv" else ","
        between = usual if draw(st.integers(0, 4)) < 4 else draw(st.sampled_from([";", "\t", "|", ","]))
        if between != usual and (clean or draw(st.booleans())):
            params["delimiter"] = "tab" if between == "\t" else between
        text, damaged = _csv_text(draw, names, rows, between, clean)
    if not clean and draw(st.integers(0, 3)) == 3:
        params |= draw(st.sampled_from([{"text_column": "sentence"}, {"label_column": "Label"}, {"delimiter": ";;"},
            {"delimiter": ""}, {"delimiter": "\n"}, {"text_column": ""}, {"label_column": "text"},
            {"delimiter": "\x00"}, {"delimiter": " "}, {"delimiter": '"'}]))  # fmt: skip
    if not clean and draw(st.integers(0, 3)) == 3:
        suffix = draw(st.sampled_from([".txt", "", ".csv.gz", ".json", ".tsv", ".jsonl", ".csv"]))
    content = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 4:
        content = b"\xef\xbb\xbf" + content
    if not clean:
        content = _damaged(draw, text, content)
    return Table(f"odd{suffix}", content, params, fields, tuple(map(tuple, rows)), clean and not damaged)


def _row(draw: DrawFn, fields: tuple[str, ...], clean: bool) -> list[Any]:
    pools = {"text": _TEXTS, "label": _LABELS, "split": _SPLITS, "domain": _DOMAINS}
    if clean:
        pools = {name: [each for each in pool if each.strip()] for name, pool in pools.items()}
        pools |= {"split": ["train", "TEST", "Training", "testing"],
            "text": [text for text in pools["text"] if "\0" not in text]}  # fmt: skip
    return [draw(st.sampled_from(pools[name])) for name in fields]


def _csv_text(draw: DrawFn, names: list[str], rows: list[list[Any]], between: str, clean: bool) -> tuple[str, bool]:
    stream = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    writer = csv.writer(stream, delimiter=between, quoting=quoting, lineterminator=ends)
    damaged = False
    for row in [names, *rows]:
        if not clean and draw(st.integers(0, 12)) == 12:
            row, damaged = draw(st.sampled_from([row[:-1], [*row, "more"], [], [""], ["x"]])), True
        writer.writerow(row)
    text = stream.getvalue()
    if not clean and draw(st.integers(0, 4)) == 4:
        text, damaged = text.replace('"', draw(st.sampled_from(["", "'", '""']))), True
    return text, damaged


def _json_lines(draw: DrawFn, names: list[str], rows: list[list[Any]], clean: bool) -> tuple[str, bool]:
    lines, damaged = [], False
    for row in rows:
        record = dict(zip(names, row, strict=True))
        if not clean and draw(st.integers(0, 6)) == 6:
            record[draw(st.sampled_from([*names, "more"]))], damaged = draw(st.sampled_from(_JSON)), True
        if not clean and draw(st.integers(0, 12)) == 12 and record:
            del record[draw(st.sampled_from(sorted(record)))]
        line = json.dumps(record, ensure_ascii=draw(st.booleans()))
        if not clean and draw(st.integers(0, 12)) == 12:
            line, damaged = draw(st.sampled_from(["", "[]", "3", "{", line[:-1], line + line, "[" * 9000, "NaN",
                '{"text": NaN}', "null", line.replace('"', "'")])), True  # fmt: skip
        lines.append(line)
    return draw(st.sampled_from(["\n", "\r\n"])).join([*lines, *draw(st.sampled_from([[], [""]]))]), damaged


def _damaged(draw: DrawFn, text: str, content: bytes) -> bytes:
    how = draw(st.sampled_from(["no", "no", "no", "encoding", "insert", "cut", "empty"]))
    if how == "encoding":
        return text.encode(draw(st.sampled_from(["latin-1", "cp1252", "utf-16", "utf-32"])), "replace")
    place = draw(st.integers(0, len(content)))
    if how == "insert":
        return content[:place] + draw(st.sampled_from([b"\x00", b"\xff", b'"', b"\n", b"\r", b",", b"\xe9",
            b"\xed\xa0\x80"])) + content[place:]  # fmt: skip
    if how == "empty":
        return draw(st.sampled_from([b"", b"\n", b"\n\n\n", b"\xef\xbb\xbf", b"text,label\n", b"\x00"]))
    return content[:place] if how == "cut" else content
