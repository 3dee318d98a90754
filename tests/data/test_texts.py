"""Texts from CSV and JSONL: content, splits, and errors that name file and line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, take
from tlbench.store.artifacts import Artifacts

RECORDS = [
    {"text": f"{word}, it said; “number {n}”\n{n * 'é'}🦉", "label": label}
    for label, word in (("hello", "good morning"), ("bye", "farewell"))
    for n in range(5)
]


FINE = '{"text": "hi", "label": "x"}\n'


def write_csv(path: Path, records: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def opened(tmp_path: Path, path: Path) -> Dataset:
    return open_dataset("texts", {"path": str(path)}, Artifacts(tmp_path / "artifacts"))


def refusal(tmp_path: Path, name: str, content: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        opened(tmp_path, path)
    return str(caught.value)


def test_texts_come_back_as_written(tmp_path: Path) -> None:
    dataset = opened(tmp_path, write_csv(tmp_path / "talk.csv", RECORDS))
    assert dataset.info.modality == "text"
    assert dataset.info.shape == ()
    assert dataset.info.name == "texts(talk)"
    assert dataset.info.classes == ("bye", "hello")
    assert list(dataset.x) == [record["text"] for record in RECORDS]
    assert dataset.x[-1] == RECORDS[-1]["text"]
    assert dataset.x[2:4] == [record["text"] for record in RECORDS[2:4]]
    assert [dataset.info.classes[label] for label in dataset.y] == [record["label"] for record in RECORDS]
    assert dataset.info.counts == {"train": (4, 4), "test": (1, 1)}
    with pytest.raises(IndexError):
        dataset.x[10]
    assert take(dataset, np.array([3, 0]), None).x == [RECORDS[3]["text"], RECORDS[0]["text"]]


def test_csv_and_jsonl_of_the_same_texts_have_one_fingerprint(tmp_path: Path) -> None:
    lines = tmp_path / "talk.jsonl"
    lines.write_text("\n\n".join(json.dumps(record) for record in RECORDS), encoding="utf-8")
    packed = write_csv(tmp_path / "talk.csv", RECORDS)
    packed.write_bytes(b"\xef\xbb\xbf" + packed.read_bytes())
    assert opened(tmp_path, lines).info.fingerprint == opened(tmp_path, packed).info.fingerprint


def test_texts_may_be_as_long_as_books(tmp_path: Path) -> None:
    """Longer than a field of Python's reader may be unless it is told otherwise."""
    records = [record | {"text": record["text"] + " word" * 40_000} for record in RECORDS]
    dataset = opened(tmp_path, write_csv(tmp_path / "books.csv", records))
    assert list(dataset.x) == [record["text"] for record in records]
    assert len(dataset.x[0]) > 200_000


def test_characters_in_two_halves_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS))
    assert "\\ud83e\\udd89" in path.read_text()
    assert opened(tmp_path, path).x[0].endswith("🦉")


def test_columns_of_no_meaning_may_share_a_name(tmp_path: Path) -> None:
    path = tmp_path / "talk.csv"
    lines = [f"{label} {n},{label},," for label in ("hello", "bye") for n in range(4)]
    path.write_text("\n".join(["text,label,,", *lines]))
    assert len(opened(tmp_path, path).x) == 8


def test_split_and_domain_columns_are_taken(tmp_path: Path) -> None:
    parts = ["train", "train", "Validation", "test", "dev"] * 2
    records = [r | {"split": s, "domain": d} for r, s, d in zip(RECORDS, parts, "abbab" * 2, strict=True)]
    dataset = opened(tmp_path, write_csv(tmp_path / "talk.csv", records))
    assert dataset.part.tolist() == [TRAIN, TRAIN, VAL, TEST, VAL] * 2
    assert dataset.info.domains == ("a", "b")
    assert dataset.domain.tolist() == [0, 1, 1, 0, 1] * 2


def test_numbers_serve_as_labels(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join(json.dumps({"text": str(n), "label": n % 2}) for n in range(4)))
    assert opened(tmp_path, path).info.classes == ("0", "1")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,lable\nhi,x\n", "a.csv:1: there is no column 'label'\n  did you mean 'lable'?"),
        ("a.csv", "text,label\nhi,x\nyo\n", "a.csv:3: 1 fields where the header has 2"),
        ("a.csv", 'text,label\n"two\nlines",x\nhi,there,x\n', "a.csv:4: 3 fields"),
        ("a.csv", 'text,label\nhi,x\n"open,x\n', "a.csv:3: "),
        ("a.csv", "text,label\nhi,x\n  ,x\n", "a.csv:3: text is missing or empty"),
        ("a.csv", "text,label,split\nhi,x,trian\n", "a.csv:2: unknown split 'trian'\n  did you mean 'train'?"),
        ("a.csv", b"text,label\nhi,x\n\xff\xfe,x\n", "a.csv:3: not UTF-8"),
        ("a.csv", "text,label\n", "a.csv: there are no texts"),
        ("a.csv", "", "a.csv:1: there is no column 'text'"),
        ("a.csv", "text,label,split\nhi,x,train\nyo,x,\n", "a.csv:3: this record has no split, but others do"),
        ("a.csv", "text,label\nhi,x\nyo,y\nha,y\n", "class 'x' has only 1 example"),
        ("a.jsonl", '{"text": "hi", "label": "x"}\n{"text": "yo"\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"text": "hi", "lable": "x"}\n', "a.jsonl:1: label is missing or empty\n  did you mean 'lable'?"),
        ("a.jsonl", '{"text": 5, "label": "x"}\n', "a.jsonl:1: text must be a text, not 5"),
        ("a.jsonl", '["hi", "x"]\n', "a.jsonl:1: each line is an object"),
        ("a.jsonl", '{"text": [[5]], "label": "x"}\n', "a.jsonl:1: text must be a text, not a list"),
        ("a.jsonl", f"{FINE}{{'text': 5}}\n", "a.jsonl:2: not JSON"),
        (
            "a.jsonl",
            FINE + '{"text": "cut \\ud83d", "label": "x"}\n',
            "a.jsonl:2: text holds half a character, \\ud83d",
        ),
        ("a.jsonl", FINE + '{"text": "hi", "label": "\\udc00"}\n', "a.jsonl:2: label holds half a character, \\udc00"),
        ("a.jsonl", f'{FINE}{{"text": "hi", "label": {"7" * 5000}}}\n', "a.jsonl:2: a number has too many digits"),
        ("a.jsonl", f"{FINE}{'[' * 100_000}\n", "a.jsonl:2: too many brackets"),
        ("a.csv", "text,label,Text \nhi,x,yo\n", "a.csv:1: 2 columns are called 'text'"),
        ("a.csv", "text,label,split,split\nhi,x,train,test\n", "a.csv:1: 2 columns are called 'split'"),
        ("a.csv", 'text,label\nhi,x\n\n"two\nlines,x\nhi,y\n', "a.csv:4: the record that begins here"),
        ("a.csv", 'text,label\n"two\nlines\nthree",x,y\n', "a.csv:2: 3 fields"),
        ("a.txt", "hi\n", "a.txt: texts are read from .csv, .tsv, .jsonl or .parquet files"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path, name, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        opened(tmp_path, tmp_path / "nowhere.csv")


def test_without_a_split_each_label_of_each_domain_holds_out_its_fifth(tmp_path: Path) -> None:
    records = [
        {"text": f"{label} {domain} {n}", "label": label, "domain": domain}
        for label in ("hello", "bye")
        for domain in ("phone", "mail")
        for n in range(10)
    ]
    dataset = opened(tmp_path, write_csv(tmp_path / "talk.csv", records))
    assert dataset.info.domains == ("mail", "phone")
    assert [dataset.info.domains[place] for place in dataset.domain] == [record["domain"] for record in records]
    cell = dataset.y * 2 + dataset.domain
    assert np.bincount(cell[dataset.rows(TEST)]).tolist() == [2] * 4
    assert np.bincount(cell[dataset.rows(TRAIN)]).tolist() == [8] * 4


def test_domains_are_part_of_the_content(tmp_path: Path) -> None:
    found = set()
    for number, domains in enumerate([["a"] * 10, ["a"] + ["b"] * 9]):
        records = [record | {"domain": domain} for record, domain in zip(RECORDS, domains, strict=True)]
        found.add(opened(tmp_path, write_csv(tmp_path / f"{number}.csv", records)).info.fingerprint)
    found.add(opened(tmp_path, write_csv(tmp_path / "none.csv", RECORDS)).info.fingerprint)
    assert len(found) == 3


def test_one_domain_is_no_shift_but_is_told(tmp_path: Path) -> None:
    dataset = opened(tmp_path, write_csv(tmp_path / "talk.csv", [record | {"domain": " mail "} for record in RECORDS]))
    assert dataset.info.domains == ("mail",)
    assert not dataset.domain.any()


def test_a_missing_domain_is_named(tmp_path: Path) -> None:
    content = "text,label,domain\nhi,x,mail\nho,x,\nyo,y,mail\nha,y,mail\n"
    assert "a.csv:3: this record has no domain, but others do" in refusal(tmp_path, "a.csv", content)


def test_splits_of_different_labels_keep_their_domains(tmp_path: Path) -> None:
    labels = {"train": ("a", "b", "c"), "val": ("d",), "test": ("e", "f")}
    records = [
        {"text": f"{label} {n}", "label": label, "split": split, "domain": "pq"[n % 2]}
        for split, names in labels.items()
        for label in names
        for n in range(4)
    ]
    dataset = opened(tmp_path, write_csv(tmp_path / "talk.csv", records))
    assert dataset.info.class_splits == {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}
    assert (np.bincount(dataset.y * 2 + dataset.domain) == 2).all()
    assert (np.bincount((dataset.y * 2 + dataset.domain)[dataset.rows(TEST)]) == 1).all()
