"""With which tokeniser a backbone reads texts: the one its weights were trained with, or one for the task's own texts.

Weights that were trained before carry theirs in their file, and encoders of Hugging Face come with one. For random
weights one is trained on texts that a method may see anyway: training examples only and, where test classes are kept
apart, of training classes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlbench.backbones.catalog import tokenizer as published
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest
from tlbench.data import tokenizer as training
from tlbench.data.dataset import SOURCE, TRAIN, Dataset
from tlbench.data.tokenized import tokenize
from tlbench.worker.pretrain import pretrained_weights

if TYPE_CHECKING:
    from tlbench.core.info import BackboneInfo
    from tlbench.worker.cache import WorkerCache

TOKENIZERS = "tokenizers"  # a kind of artifact
_FILE = "tokenizer.json"
_UNKNOWN = 0.2  # the largest share of a dataset's tokens that a record does not speak of


def tokenizer_of(choice: BackboneChoice, target: DatasetChoice, episodic: bool, cache: WorkerCache) -> str:
    """Return the tokeniser, as JSON, with which a backbone reads the texts of a dataset.

    Args:
        choice: A text backbone.
        target: The dataset that it is used on.
        episodic: Whether that is for episodes, whose test classes nothing may have learnt from.
        cache: What this process keeps between cells.

    Raises:
        UserError: A file of weights carries no tokeniser, or the backbone's own cannot be had.
    """
    if choice.pretrain is not None:
        return read_tokenizer(pretrained_weights(choice.pretrain, choice.artifact, cache))
    if choice.weights_file is not None:
        return read_tokenizer(Path(choice.weights_file))
    return published(choice.info) or _trained(choice.info, target, episodic, cache)


def read_texts(dataset: Dataset, choice: BackboneChoice, tokenizer: str, cache: WorkerCache) -> Dataset:
    """Return a dataset of texts as a backbone reads it, with a tokeniser given as JSON.

    Where that knows too little of the texts, a note of the dataset says so.

    Raises:
        UserError: The tokeniser has other special tokens than the backbone, or more tokens.
    """
    info = choice.info
    vocabulary = info.recipe["vocabulary"]
    model = training.load(tokenizer)
    special = {token for token, added in model.get_added_tokens_decoder().items() if added.special}
    if not special.issuperset(vocabulary["special"]) or model.get_vocab_size() > vocabulary["size"]:
        raise UserError(
            f"{info.label}: its weights carry a tokeniser of {model.get_vocab_size()} tokens, special ones "
            f"{sorted(special)}, where the network has {vocabulary['size']} and {vocabulary['special']}",
            "tlbench's own encoders need [PAD], [UNK], [CLS], [SEP], [MASK] as 0 to 4; vocabulary: N sets their number",
        )
    read = tokenize(dataset, tokenizer, info.recipe["max_length"], vocabulary["pad"], cache.artifacts)
    share = unknown_share(np.asarray(read.x), vocabulary["special"], training.unknown(tokenizer))
    if share <= _UNKNOWN:
        return read
    note = f"{share:.0%} of the tokens of {dataset.info.name} are unknown to the tokeniser {_origin(choice, dataset)}"
    return replace(read, notes=(*read.notes, note))


def unknown_share(ids: NDArray[np.int32], special: Sequence[int], unknown: int | None) -> float:
    """Return how many of the tokens that stand for a piece of a text are unknown, as a fraction.

    Args:
        ids: Token ids (N, L), padded.
        special: Ids that stand for no piece; that of the unknown, if among them, does.
        unknown: What the tokeniser writes for what it does not know; None if there is no such thing.
    """
    if unknown is None:
        return 0.0
    counts = np.bincount(ids.ravel(), minlength=unknown + 1)
    pieces = np.setdiff1d(np.flatnonzero(counts), np.setdiff1d(special, unknown))
    return float(counts[unknown] / max(counts[pieces].sum(), 1))


def _origin(choice: BackboneChoice, dataset: Dataset | DatasetChoice) -> str:
    """Return where a backbone's tokeniser comes from, for the reader of a note."""
    if choice.pretrain is not None:
        return _origin(choice.pretrain.start, choice.pretrain.dataset)
    if choice.weights_file is not None:
        return f"that {Path(choice.weights_file).name} carries"
    if "tokenizer" not in choice.info.recipe:
        return f"of {choice.info.recipe['name']}"
    return f"trained on {dataset.info.name}"


def _trained(info: BackboneInfo, target: DatasetChoice, episodic: bool, cache: WorkerCache) -> str:
    classes = _learnable(target, episodic)
    design = training.Design(size=info.recipe["vocabulary"]["size"], **info.recipe["tokenizer"])
    key = digest([training.VERSION, vars(design), target.info.fingerprint, classes])

    def build(folder: Path) -> None:
        dataset = cache.dataset(target)
        texts = [dataset.x[int(row)] for row in training_rows(dataset, classes)]
        (folder / _FILE).write_text(training.train(texts, design), encoding="utf-8")

    return (cache.artifacts.get(TOKENIZERS, key, build) / _FILE).read_text(encoding="utf-8")


def _learnable(target: DatasetChoice, episodic: bool) -> list[int]:
    """Return the labels of the classes whose texts may be read before any task is posed."""
    info = target.info
    if episodic:
        return list(deal_classes(info)["train"])
    return list(info.class_splits.get("train", range(len(info.classes))))


def training_rows(dataset: Dataset, classes: list[int]) -> NDArray[np.int64]:
    """Return the rows of the training examples of some classes; of a pair of domains, those of both."""
    return np.flatnonzero(np.isin(dataset.part, (TRAIN, SOURCE)) & np.isin(dataset.y, classes))
