"""Encoders of transformers with a few thousand parameters and a tokeniser, saved as anybody saves theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

WORDS = ("the", "card", "rent", "is", "paid", "lost", "my", "balance", "please", "freeze", "what", "how")
BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
ROBERTA = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
SIZE = 64
_SHAPE: dict[str, Any] = {
    "vocab_size": SIZE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
_NARROW: dict[str, Any] = {"embedding_size": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "pad_token_id": 0}


def config(kind: str) -> Any:
    """The configuration of a small encoder."""
    import transformers

    if kind == "bert":
        return transformers.BertConfig(**_SHAPE, max_position_embeddings=24)
    if kind == "roberta":
        return transformers.RobertaConfig(**_SHAPE, max_position_embeddings=26, pad_token_id=1, type_vocab_size=1)
    if kind == "distilbert":
        return transformers.DistilBertConfig(
            vocab_size=SIZE, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=24
        )
    if kind == "albert":
        return transformers.AlbertConfig(**_SHAPE, **_NARROW, max_position_embeddings=24)
    if kind == "electra":
        return transformers.ElectraConfig(**_SHAPE, **_NARROW, max_position_embeddings=24)
    ids = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return transformers.ModernBertConfig(**_SHAPE, **ids, max_position_embeddings=24)


KINDS = ("bert", "roberta", "distilbert", "modernbert")
NARROW = ("albert", "electra")  # whose token table is narrower than their states


def tokenizer(kind: str) -> Any:
    """A tokeniser of whole words, with the special tokens of the kind, which each have an id below six."""
    import transformers

    special = ROBERTA if kind == "roberta" else BERT
    known = {token: place for place, token in enumerate([*special.values(), *WORDS])}
    model = Tokenizer(models.WordLevel(known, special["unk_token"]))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    model.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special.values()])
    ends = [(special[key], known[special[key]]) for key in ("cls_token", "sep_token")]
    model.post_processor = processors.TemplateProcessing(single=f"{ends[0][0]} $A {ends[1][0]}", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, model_max_length=24, **special)


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Write an encoder under the head of its pre-training, and its tokeniser; return the folder."""
    import transformers

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForMaskedLM.from_config(config(kind))
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms too are away from where they start
                parameter += 0.05 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return folder
