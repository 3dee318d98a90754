"""Transformer encoders of texts in the sizes of the BERT miniatures, for tokens learnt on the training texts.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
arXiv:1810.04805; sizes by Turc et al. 2019, "Well-Read Students Learn Better", arXiv:1908.08962. Normalisation stands
before the sublayers (Xiong et al. 2020, arXiv:2002.04745), which trains from scratch without a long warm-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tlbench.backbones.options import label, read_options
from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo

if TYPE_CHECKING:
    from tlbench.backbones.backbone import Backbone

_SIZES = {"text_tiny": (2, 128), "text_mini": (4, 256), "text_small": (4, 512), "text_medium": (8, 512)}
_HEAD = 64  # width of an attention head
_TOKENIZER = ("tokenizer", "lowercase")


class Params(Settings):
    """Options of the text encoders."""

    tokenizer: Literal["bpe", "wordpiece"] = Field("bpe", description="bpe is on bytes and knows every text")
    vocabulary: int = Field(4096, ge=512, le=2**20, description="most tokens there may be, and rows of their table")
    lowercase: bool = Field(True, description="whether capitals are read as small letters")
    max_length: int = Field(128, ge=8, le=4096, description="most tokens of a text; what follows is cut off")
    pooling: Literal["mean", "cls"] = Field("mean", description="features: mean over the tokens, or the first token")
    dropout: float = Field(0.1, ge=0, lt=1, description="of embeddings, attention and what sublayers add")


def summaries() -> dict[str, str]:
    """Return one line about each name."""
    about = "pre-norm text encoder, {} layers of width {}; sizes of the BERT miniatures, arXiv:1908.08962"
    return {name: about.format(layers, width) for name, (layers, width) in _SIZES.items()}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts of an encoder. Imports no torch.

    A file of weights carries the tokeniser that they were trained with, so its options cannot be chosen.

    Raises:
        UserError: An option is impossible.
    """
    options = read_options(name, Params, params)
    of_file = weights["kind"] == "file"
    chosen = next((key for key in _TOKENIZER if key in params), None) if of_file else None
    if chosen is not None:
        raise UserError(f"{name}: {chosen!r} goes with the weights, whose file holds a tokeniser", "leave it out")
    values = options.model_dump(mode="json")
    changed = {key: value for key, value in values.items() if value != getattr(Params(), key)}
    layers, width = _SIZES[name]
    recipe = {
        "name": name,
        "family": "text_encoder",
        "weights": weights,
        "layers": layers,
        "width": width,
        "heads": width // _HEAD,
        "dropout": options.dropout,
        "pooling": options.pooling,
        "max_length": options.max_length,
        "vocabulary": {"size": options.vocabulary, "pad": 0, "mask": 4, "special": [0, 1, 2, 3, 4]},
        "tokenizer": "file" if of_file else {"kind": options.tokenizer, "lowercase": options.lowercase},
    }
    return BackboneInfo(name, "text_encoder", "text", label(name, changed, weights), recipe)


def construct(info: BackboneInfo) -> Backbone:
    """Return the network with fresh weights from torch's global generator: N(0, 0.02), no bias."""
    from tlbench.backbones.backbone import Backbone, BodyParts, Trim, find_sublayers, vocabulary
    from tlbench.backbones.layer_groups import find_blocks, layer_groups
    from tlbench.backbones.transformer_encoder import Encoder, Shape

    words = vocabulary(info)
    keys = ("layers", "width", "heads", "dropout", "pooling")
    shape = Shape(words.size, words.pad, info.recipe["max_length"], *(info.recipe[key] for key in keys))
    body = Encoder(shape)
    return Backbone(
        info=info,
        prepare=Trim(words.pad),
        body=body,
        out_dim=shape.width,
        parts=BodyParts(layer_groups(body, {"Block"}), find_blocks(body, {"Block"}), find_sublayers(body)),
        vocabulary=words,
    )
