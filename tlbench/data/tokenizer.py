"""How texts become token ids: trains a tokeniser on texts, and writes it as one JSON text that goes with the weights.

Subword units are learnt by merging the most frequent pairs: byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909;
Radford et al. 2019) or WordPiece (Wu et al. 2016, arXiv:1609.08144), both with the library ``tokenizers``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tlbench.core.errors import UserError

# A process has the CPUs of its slot, and no more.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Kind = Literal["bpe", "wordpiece"]
VERSION = 1
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The tokens that stand for no piece of a text; a token's id is its position."""

PAD, UNKNOWN, START, END, MASK = range(len(SPECIAL))
_INSIDE = "##"  # stands before the WordPiece tokens that continue a word
_CHUNK = 4096


@dataclass(frozen=True)
class Design:
    """What kind of tokeniser to train.

    Attributes:
        kind: ``bpe`` works on bytes and knows every text; ``wordpiece`` works on characters, and a word with one that
            no training text has becomes ``[UNK]``.
        size: Largest number of tokens, the special ones included; few texts give fewer.
        lowercase: Whether capitals are read as small letters.
    """

    kind: Kind
    size: int
    lowercase: bool


def train(texts: Iterable[str], design: Design) -> str:
    """Return a tokeniser as JSON; the same texts give the same JSON, in whatever order and process.

    It puts ``[CLS]`` before a text and ``[SEP]`` behind it.

    Args:
        texts: What to learn the tokens from; passed over more than once.
        design: What to learn.

    Raises:
        UserError: The texts have more characters than the vocabulary may have tokens.
    """
    tokenizer = _train_bpe(texts, design) if design.kind == "bpe" else _train_wordpiece(texts, design)
    if tokenizer.get_vocab_size() > design.size:
        raise UserError(
            f"a vocabulary of {design.size} tokens has no room for the {tokenizer.get_vocab_size()} single characters "
            "of these texts",
            "give a larger vocabulary, or tokenizer: bpe",
        )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
    )
    return tokenizer.to_str()


class TokenIds(NamedTuple):
    """Texts as token ids.

    Attributes:
        ids: Ids (N, L), padded behind.
        cut: How many texts had more tokens than were kept.
    """

    ids: NDArray[np.int32]
    cut: int


def encode(tokenizer: str, texts: Iterable[str], length: int, pad: int) -> TokenIds:
    """Return the token ids of texts, padded behind to the longest.

    Special tokens that are spelt out in a text are read as any other characters.

    Args:
        tokenizer: A tokeniser as JSON.
        texts: What to encode.
        length: Most tokens of a text, the special ones included; what follows is cut off.
        pad: The id to pad with.
    """
    model = load(tokenizer)
    model.no_padding()
    model.enable_truncation(length)
    sequences: list[NDArray[np.int32]] = []
    cut = 0
    for chunk in _chunks(texts):
        encoded = model.encode_batch_fast(chunk)
        sequences += [np.asarray(text.ids, np.int32) for text in encoded]
        cut += sum(bool(text.overflowing) for text in encoded)
    ids = np.full((len(sequences), max(map(len, sequences), default=0)), pad, np.int32)
    for row, own in zip(ids, sequences, strict=True):
        row[: len(own)] = own
    return TokenIds(ids, cut)


def load(tokenizer: str) -> Tokenizer:
    """Return the library's tokeniser of a JSON; no text that it encodes can hold its special tokens."""
    model = Tokenizer.from_str(tokenizer)
    model.encode_special_tokens = True
    return model


def unknown(tokenizer: str) -> int | None:
    """Return the id that a tokeniser, given as JSON, writes for what it does not know; None if it knows every text."""
    model = json.loads(tokenizer)["model"]
    found = model.get("unk_id")
    if found is None and model.get("unk_token") is not None:
        found = load(tokenizer).token_to_id(model["unk_token"])
    return None if found is None else int(found)


def _train_bpe(texts: Iterable[str], design: Design) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if design.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=design.size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _train_wordpiece(texts: Iterable[str], design: Design) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=design.lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_INSIDE)
    # The library numbers the characters inside words as it meets them, in the order of a hash table that differs from
    # process to process, and breaks ties by the numbers; as special tokens they are numbered in the order given.
    inside = sorted({_INSIDE + character for word in _words(tokenizer, texts) for character in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=design.size,
        special_tokens=[*SPECIAL, *inside],
        show_progress=False,
        continuing_subword_prefix=_INSIDE,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained = Tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token="[UNK]"))
    trained.normalizer, trained.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    trained.decoder = tokenizer.decoder
    trained.add_special_tokens(list(SPECIAL))
    return trained


def _words(tokenizer: Tokenizer, texts: Iterable[str]) -> set[str]:
    normalize, split = tokenizer.normalizer.normalize_str, tokenizer.pre_tokenizer.pre_tokenize_str
    return {word for text in texts for word, _ in split(normalize(text))}


def _chunks(texts: Iterable[str]) -> Iterable[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
