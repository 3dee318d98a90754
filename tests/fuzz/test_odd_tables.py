"""Tables and JSON lines of all kinds: every record kept as it was written, or a refusal that names the file."""

from __future__ import annotations

import unicodedata
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from odd_tables import Table, tables
from outcomes import Outcomes, fuzz

from tlbench.data.catalog import open_dataset, validate
from tlbench.data.decoded import Decoded, fingerprint
from tlbench.data.sources import texts
from tlbench.store.artifacts import Artifacts

MANY = pytest.param(20_000, marks=pytest.mark.slow)


@pytest.mark.parametrize("examples", [400, MANY])
def test_any_table_keeps_every_record_or_is_refused(tmp_path: Path, examples: int) -> None:
    number = count()

    def attempt(outcomes: Outcomes, table: Table) -> None:
        file = tmp_path / str(next(number)) / table.name
        file.parent.mkdir()
        file.write_bytes(table.content)
        read = outcomes.of(lambda: _read(file, table.params))
        if read is None:
            message = outcomes.refusals[-1].message
            assert str(file) in message or message.startswith(("dataset texts: ", "texts: ")), message
            return
        if table.is_whole:
            outcomes.counts["whole"] += 1
            _is_what_was_written(read, table)
        assert fingerprint(_read(file, table.params)) == fingerprint(read)
        if outcomes.counts["read"] % 10 == 0:
            opened = open_dataset("texts", {"path": str(file), **table.params}, Artifacts(tmp_path / "artifacts"))
            assert opened.info.fingerprint == fingerprint(read)
            assert list(opened.x) == list(read.x)

    fuzz(tables(), attempt, examples)


def _read(file: Path, params: dict[str, Any]) -> Decoded:
    settings = texts.Params(**validate("texts", {"path": str(file), **params}, file.parent))
    return texts.decode(settings, file.parent)


def _is_what_was_written(dataset: Decoded, table: Table) -> None:
    columns = dict(zip(table.fields, zip(*table.rows, strict=True), strict=True))
    assert list(dataset.x) == list(columns["text"])
    composed = [unicodedata.normalize("NFC", label.strip()) for label in columns["label"]]
    assert [dataset.classes[label] for label in dataset.y] == composed
    if len(set(columns["label"])) > len(set(composed)):
        assert any("read as one" in note for note in dataset.warnings)
    if "domain" in columns:
        assert [dataset.domains[row] for row in dataset.domain] == [
            unicodedata.normalize("NFC", name.strip()) for name in columns["domain"]
        ]
