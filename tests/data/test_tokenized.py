"""Tokenised datasets: the ids of their texts, once on disk, with all else as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlbench.data import decoded
from tlbench.data import tokenized as tokens
from tlbench.data.dataset import TEST, TRAIN, Dataset
from tlbench.data.decoded import Decoded
from tlbench.data.tokenized import tokenize
from tlbench.data.tokenizer import Design, encode, train
from tlbench.store.artifacts import Artifacts

TEXTS = ["one two three", "two", "three four five six seven", "öne twö"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    y, part = np.array([0, 1, 0, 1]), np.array([TRAIN, TRAIN, TRAIN, TEST], np.uint8)
    decoded.save(Decoded(TEXTS, y, part, ("a", "b")), "small", tmp_path)
    return decoded.load(tmp_path)


def test_ids_come_from_a_file_and_all_else_stays(dataset: Dataset, tmp_path: Path) -> None:
    tokenizer = train(TEXTS, Design("bpe", 512, True))
    read = tokenize(dataset, tokenizer, 16, 0, Artifacts(tmp_path / "a"))
    assert isinstance(read.x, np.ndarray)
    assert read.x.dtype == np.int32
    assert np.array_equal(read.x, encode(tokenizer, TEXTS, 16, 0).ids)
    assert read.info is dataset.info
    for key in ("y", "part", "domain"):
        assert getattr(read, key) is getattr(dataset, key)
    assert (dataset.tokens, bool(read.tokens)) == ("", True)
    assert [path.name for path in (tmp_path / "a").glob("tokens/[!.]*")] == [read.tokens]


def test_the_file_is_made_once_and_writing_to_what_is_mapped_leaves_it_alone(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, made = train(TEXTS, Design("bpe", 512, True)), []
    monkeypatch.setattr(tokens, "encode", lambda *args: (made.append(args), encode(*args))[1])
    first = tokenize(dataset, tokenizer, 16, 0, Artifacts(tmp_path / "a"))
    before = np.array(first.x)
    np.asarray(first.x)[:] = 7
    second = tokenize(dataset, tokenizer, 16, 0, Artifacts(tmp_path / "a"))
    assert len(made) == 1
    assert np.array_equal(second.x, before)
    assert first.tokens == second.tokens


def test_whatever_decides_the_ids_decides_their_name(dataset: Dataset, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "a")
    one, other = (train(TEXTS, Design(kind, 512, True)) for kind in ("bpe", "wordpiece"))
    asked = [(one, 16, 0), (other, 16, 0), (one, 5, 0), (one, 16, 1)]
    names = [tokenize(dataset, *how, artifacts).tokens for how in asked]
    assert len(set(names)) == len(asked)


def test_texts_that_are_cut_are_counted(dataset: Dataset, tmp_path: Path) -> None:
    tokenizer, artifacts = train(TEXTS, Design("bpe", 512, True)), Artifacts(tmp_path / "a")
    lengths = (encode(tokenizer, TEXTS, 512, 0).ids != 0).sum(1)
    for _ in range(2):  # also where the ids lie on disk already
        read = tokenize(dataset, tokenizer, int(lengths.max()) - 1, 0, artifacts)
        assert read.notes == (f"25.0% of the texts of small are longer than {lengths.max() - 1} tokens and are cut",)
    assert tokenize(dataset, tokenizer, int(lengths.max()), 0, artifacts).notes == ()
