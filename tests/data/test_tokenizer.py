"""Tokenisers: what they know, what they never do, and that the same texts give the same one."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.core.errors import UserError
from tlbench.data.tokenizer import END, MASK, PAD, SPECIAL, START, UNKNOWN, Design, Kind, encode, load, train

KINDS: tuple[Kind, ...] = ("bpe", "wordpiece")
SENTENCE = "account balance card day every freeze great how is it my pay please question rent the to what you"
WORDS = SENTENCE.split()


def texts(count: int = 300, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(2, 9))) + draw.choice(["", "?", "!"]) for _ in range(count)]


def trained(kind: Kind = "bpe", size: int = 512, lowercase: bool = True) -> str:
    return train(texts(), Design(kind, size, lowercase))


BPE = trained(lowercase=False)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_have_fixed_ids_and_stand_around_every_text(kind: Kind) -> None:
    model = load(trained(kind))
    assert [model.token_to_id(token) for token in SPECIAL] == [PAD, UNKNOWN, START, END, MASK] == [0, 1, 2, 3, 4]
    assert model.get_vocab_size() == len(set(model.get_vocab().values())) == max(model.get_vocab().values()) + 1
    ids = encode(trained(kind), ["how is my card", "pay"], 32, PAD).ids
    assert ids.dtype == np.int32
    assert (ids[:, 0] == START).all()
    lengths = (ids != PAD).sum(1)
    assert lengths[0] == ids.shape[1] == 6
    assert [row[length - 1] for row, length in zip(ids, lengths, strict=True)] == [END, END]
    assert (ids[1, lengths[1] :] == PAD).all()


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_bytes_know_every_text_and_give_it_back(text: str) -> None:
    ids = encode(BPE, [text], 4096, PAD).ids[0]
    assert not np.isin(ids[1:-1], range(len(SPECIAL))).any()
    assert load(BPE).decode(ids.tolist()).removeprefix(" ") == text.removeprefix(" ")


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_can_spell_a_special_token(kind: Kind) -> None:
    spelt = encode(trained(kind), [f"is it {token} to you" for token in SPECIAL], 64, PAD).ids
    for row in spelt:
        inner = row[row != PAD][1:-1]
        assert not np.isin(inner, (PAD, START, END, MASK)).any()
    assert (spelt == END).sum() == len(SPECIAL)


def test_characters_that_no_training_text_has_are_unknown_to_wordpiece_only() -> None:
    strange = ["my ж card"]
    assert (encode(trained("wordpiece"), strange, 32, PAD).ids == UNKNOWN).sum() == 1
    assert (encode(trained("bpe"), strange, 32, PAD).ids == UNKNOWN).sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_frequent_words_become_tokens_and_others_do_not(kind: Kind) -> None:
    tokens = {token.removeprefix("Ġ") for token in load(trained(kind, 512)).get_vocab()}
    assert set(WORDS) <= tokens
    assert "mortgage" not in tokens


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [True, False])
def test_capitals(kind: Kind, lowercase: bool) -> None:
    low, high = encode(train([*texts(), "PAY"], Design(kind, 512, lowercase)), ["pay rent", "PAY rent"], 32, PAD).ids
    assert (low == high).all() == lowercase


def test_texts_are_cut_off_at_their_length_and_padded_to_the_longest() -> None:
    whole = encode(BPE, texts(40), 4096, PAD).ids
    for length in (4, 7, 4096):
        ids = encode(BPE, texts(40), length, 9).ids
        assert ids.shape == (40, min(length, whole.shape[1]))
        for row, full in zip(ids, whole, strict=True):
            own = full[full != PAD]
            kept = own if len(own) <= length else np.append(own[: length - 1], END)
            assert row.tolist() == [*kept.tolist(), *[9] * (ids.shape[1] - len(kept))]


def test_many_texts_are_encoded_as_few_are() -> None:
    some = texts(5000, seed=1)
    ids = encode(BPE, some, 16, PAD).ids
    for row in (0, 4095, 4096, 4999):
        alone = encode(BPE, [some[row]], 16, PAD).ids[0]
        assert ids[row, : len(alone)].tolist() == alone.tolist()
        assert (ids[row, len(alone) :] == PAD).all()
    assert encode(BPE, [], 16, PAD).ids.shape == (0, 0)


def test_the_ids_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    model = load(BPE)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", model_max_length=8)
    theirs = fast(texts(30), padding=True, truncation=True, return_tensors="np")["input_ids"]
    assert (encode(BPE, texts(30), 8, PAD).ids == theirs).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_is_as_large_as_asked_where_the_texts_give_as_much(kind: Kind) -> None:
    many = [" ".join(random.Random(n).choices("abcdefgh", k=40)).replace(" ", "", n % 37) for n in range(300)]
    assert load(train(many, Design(kind, 600, True))).get_vocab_size() == 600
    assert load(train(["a b"], Design(kind, 600, True))).get_vocab_size() < 600


def test_more_characters_than_tokens_are_refused() -> None:
    with pytest.raises(UserError, match="a vocabulary of 512 tokens has no room for the 705 single characters"):
        train(["".join(map(chr, range(0x4E00, 0x4E00 + 700)))[::1].replace("", " ")], Design("wordpiece", 512, True))


def test_the_same_texts_give_the_same_bytes_in_any_order_and_process() -> None:
    """The library's own WordPiece trainer does not: characters inside words come in the order of a hash table."""
    code = (
        "import json, sys\nfrom tlbench.data.tokenizer import Design, train\nsome = json.load(sys.stdin)\n"
        "print(json.dumps([train(some, Design(kind, 600, True)) for kind in ('bpe', 'wordpiece')]))"
    )
    mixed = texts(2000)
    here = [train(mixed, Design(kind, 600, True)) for kind in KINDS]
    for seed in range(2):
        random.Random(seed).shuffle(mixed)
        ran = subprocess.run([sys.executable, "-c", code], input=json.dumps(mixed), capture_output=True, text=True)
        assert json.loads(ran.stdout) == here, ran.stderr


def test_what_is_asked_for_decides_the_tokeniser() -> None:
    designs = [Design("bpe", 512, True), Design("bpe", 300, True), Design("bpe", 512, False)]
    capitals = [*texts(), "Pay The Rent"]
    assert len({train(capitals, design) for design in (*designs, Design("wordpiece", 512, True))}) == 4
