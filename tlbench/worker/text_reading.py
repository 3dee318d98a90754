"""Chooses the tokeniser with which a backbone reads texts, and reads them as token ids.

Weights that were trained before have theirs in their file, and encoders of Hugging Face come with one. For random
weights a tokeniser is trained on texts that a method may see anyway: training examples only and, in episodes, of
training classes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlbench.backbones.catalog import tokenizer as published_tokenizer
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest
from tlbench.core.info import BackboneInfo
from tlbench.data import tokenizer as training
from tlbench.data.dataset import SOURCE, TRAIN, Dataset
from tlbench.data.tokenized import tokenize
from tlbench.store.artifacts import Artifacts
from tlbench.worker.worker_resources import TextResources

TOKENIZERS = "tokenizers"  # a kind of artifact
_FILE = "tokenizer.json"
_UNKNOWN = 0.2  # share of unknown tokens beyond which the dataset gets a note


def tokenizer_for(choice: BackboneChoice, target: DatasetChoice, episodic: bool, resources: TextResources) -> str:
    """Return the tokeniser, as JSON, with which a backbone reads the texts of a dataset.

    Args:
        choice: A text backbone.
        target: The dataset that it reads.
        episodic: Whether it reads it for episodes, whose test classes nothing may have been trained on.
        resources: Opens datasets, and pre-trains where weights are missing.

    Raises:
        UserError: A file of weights has no tokeniser in it, or the published one cannot be loaded.
    """
    if choice.pretrain is not None:
        return read_tokenizer(resources.pretrained_weights(choice))
    if choice.weights_file is not None:
        own = published_tokenizer(choice.info)
        return read_tokenizer(Path(choice.weights_file), own)
    return published_tokenizer(choice.info) or _trained(choice.info, target, episodic, resources)


def read_texts(dataset: Dataset, choice: BackboneChoice, tokenizer: str, artifacts: Artifacts) -> Dataset:
    """Return a dataset of texts as a backbone reads it: token ids (N, L), padded.

    Where many of the tokens are unknown to the tokeniser, a note of the dataset says so.

    Args:
        dataset: The texts.
        choice: The backbone.
        tokenizer: Its tokeniser, as JSON.
        artifacts: Where token ids are kept.

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
    read = tokenize(dataset, tokenizer, info.recipe["max_length"], vocabulary["pad"], artifacts)
    share = unknown_share(np.asarray(read.x), vocabulary["special"], training.unknown(tokenizer))
    if share <= _UNKNOWN:
        return read
    note = f"{share:.0%} of the tokens of {dataset.info.name} are unknown to the tokeniser {_origin(choice, dataset)}"
    return replace(read, notes=(*read.notes, note))


def unknown_share(ids: NDArray[np.int32], special: Sequence[int], unknown: int | None) -> float:
    """Return which fraction of the tokens that stand for a piece of a text are unknown.

    Args:
        ids: Token ids (N, L), padded.
        special: Ids that stand for no piece of a text; the unknown token does stand for one even if it is among them.
        unknown: Id of the unknown token; None where the tokeniser has none.
    """
    if unknown is None:
        return 0.0
    counts = np.bincount(ids.ravel(), minlength=unknown + 1)
    pieces = np.setdiff1d(np.flatnonzero(counts), np.setdiff1d(special, unknown))
    return float(counts[unknown] / max(counts[pieces].sum(), 1))


def _origin(choice: BackboneChoice, dataset: Dataset | DatasetChoice) -> str:
    """Return where a backbone's tokeniser comes from, in words."""
    if choice.pretrain is not None:
        return _origin(choice.pretrain.start, choice.pretrain.dataset)
    if choice.weights_file is not None:
        return f"that {Path(choice.weights_file).name} carries"
    if "tokenizer" not in choice.info.recipe:
        return f"of {choice.info.recipe['name']}"
    return f"trained on {dataset.info.name}"


def _trained(info: BackboneInfo, target: DatasetChoice, episodic: bool, resources: TextResources) -> str:
    """Return a tokeniser that is trained on the texts of a dataset which a method may see, as JSON."""
    classes = _trainable_classes(target, episodic)
    design = training.Design(size=info.recipe["vocabulary"]["size"], **info.recipe["tokenizer"])
    key = digest([training.VERSION, vars(design), target.info.fingerprint, classes])

    def build(folder: Path) -> None:
        dataset = resources.dataset(target)
        texts = [str(dataset.x[int(row)]) for row in training_rows(dataset, classes)]
        (folder / _FILE).write_text(training.train(texts, design), encoding="utf-8")

    return (resources.artifacts.get(TOKENIZERS, key, build) / _FILE).read_text(encoding="utf-8")


def _trainable_classes(target: DatasetChoice, episodic: bool) -> list[int]:
    """Return the labels of the classes that a tokeniser may be trained on."""
    info = target.info
    if episodic:
        return list(deal_classes(info)["train"])
    return list(info.class_splits.get("train", range(len(info.classes))))


def training_rows(dataset: Dataset, classes: list[int]) -> NDArray[np.int64]:
    """Return the rows of the training examples of some classes; of a pair of domains, those of both."""
    return np.flatnonzero(np.isin(dataset.part, (TRAIN, SOURCE)) & np.isin(dataset.y, classes))
