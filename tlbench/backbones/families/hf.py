"""Any text encoder of Hugging Face, by hub name or folder, e.g. hf:distilbert-base-uncased; weights hf; extra hf.

Source: Wolf et al. 2020, "Transformers: State-of-the-Art Natural Language Processing", arXiv:1910.03771. An encoder
comes with its own tokeniser. What is known of it can only be read with the library, which imports torch; so this file
does that for suites that name such an encoder, and for no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tlbench.backbones.huggingface_files import (
    PREFIX,
    EncoderSource,
    find,
    folder_of,
    library,
    load,
    quiet,
    weights_hash,
)
from tlbench.backbones.huggingface_sentences import pooling_of, sentence_settings
from tlbench.backbones.options import label, read_options
from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo

if TYPE_CHECKING:
    from torch import Tensor

    from tlbench.backbones.backbone import Backbone
    from tlbench.backbones.huggingface_body import Body


class Params(Settings):
    """Options of Hugging Face's encoders."""

    max_length: int | None = Field(None, ge=8, description="most tokens of a text; by default as many as it takes")
    pooling: Literal["mean", "cls"] | None = Field(
        None, description="features: mean over the tokens, or the first token; by default as the encoder says, or mean"
    )
    normalize: bool = Field(False, description="features have length one")


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    """Return the facts of an encoder. Imports transformers, and torch with it.

    Texts are as long, and tokens are pooled, as the files of a sentence encoder say
    (:mod:`tlbench.backbones.huggingface_sentences`). Its features have any length, even if its last module would make
    that one: heads that learn by gradient learn slowly on such, and ``normalize`` asks for them.

    A name of the hub is looked up in the library's cache first, and on the hub only if it is not there. The recipe
    holds the commit, or hashes of the folder's files, and no path.

    Raises:
        UserError: transformers is not installed, there is no such encoder or revision, it cannot be had, it is no
            encoder trained as a masked language model, or an option is impossible.
    """
    revision_name = str(weights["name"]) if weights["kind"] == "hf" else "DEFAULT"
    encoder = find(name, revision_name)
    options = read_options(name, Params, params)
    said = sentence_settings(name, "DEFAULT" if folder_of(name) is not None else encoder.content)
    usual = min(said.max_length or encoder.positions, encoder.positions)
    length = options.max_length or usual
    if length > encoder.positions:
        raise UserError(f"{name}: 'max_length' {length} is too long", f"it takes up to {encoder.positions} tokens")
    chosen = {"max_length": length, "pooling": pooling_of(name, said, options.pooling)}
    plain = {"max_length": usual, "pooling": said.pooling or "mean"}
    changed: dict[str, Any] = {key: value for key, value in chosen.items() if value != plain[key]}
    if options.normalize:
        chosen["normalize"] = changed["normalize"] = True
    folder = folder_of(name)
    if weights["kind"] == "hf":
        weights = {**weights, "name": encoder.content if folder is None else weights_hash(name, folder)}
    shown = name if folder is None else PREFIX + folder.name
    recipe = {
        "name": shown,
        "family": "hf",
        "weights": weights,
        "content": encoder.content,
        "width": encoder.config.hidden_size,
        "vocabulary": {
            "size": encoder.config.vocab_size,
            "pad": encoder.pad,
            "mask": encoder.mask,
            "special": list(encoder.special),
        },
        **chosen,
    }
    weights_label = f"hf:{weights['name'][:8]}" if weights["kind"] == "hf" else ""
    return BackboneInfo(name, "hf", "text", label(shown, changed, weights, weights_label), recipe)


def construct(info: BackboneInfo) -> Backbone:
    """Return the network with fresh weights from torch's global generator, without what pools its states."""
    with quiet():
        return assemble(info, library().AutoModel.from_config(_planned(info).config, dtype="float32"))


def assemble(info: BackboneInfo, model: Any) -> Backbone:
    """Return a backbone around an encoder of the library.

    Args:
        info: Of whose recipe ``width``, ``pooling`` and ``vocabulary`` are read.
        model: The encoder, as ``AutoModel`` makes it.
    """
    from tlbench.backbones.backbone import Backbone, BodyParts, Trim, vocabulary
    from tlbench.backbones.huggingface_body import block_classes, find_all_sublayers
    from tlbench.backbones.layer_groups import find_blocks, layer_groups

    words = vocabulary(info)
    body = _body(info, model)
    kinds = block_classes(body)
    blocks = find_blocks(body, kinds)
    return Backbone(
        info=info,
        prepare=Trim(words.pad),
        body=body,
        out_dim=info.recipe["width"],
        parts=BodyParts(layer_groups(body, kinds), blocks, find_all_sublayers(body, blocks)),
        vocabulary=words,
    )


def _body(info: BackboneInfo, model: Any) -> Body:
    from tlbench.backbones.huggingface_body import Body

    pad, pooling = info.recipe["vocabulary"]["pad"], info.recipe["pooling"]
    return Body(model, pad, pooling, normalize=info.recipe.get("normalize", False))


def published(info: BackboneInfo) -> dict[str, Tensor]:
    """Return the weights that the recipe names, by the names of the body.

    Raises:
        UserError: They can neither be downloaded nor read, or some of the network's are not among them.
    """
    encoder, folder = _planned(info), folder_of(info.name)
    revision = "DEFAULT" if folder is not None else encoder.content
    if folder is not None and weights_hash(info.name, folder) != info.recipe["weights"]["name"]:
        raise _changed(info)
    more = {"use_safetensors": True, "dtype": "float32", "output_loading_info": True}
    with quiet():
        model, report = load(library().AutoModel.from_pretrained, info.name, revision, **more)
    body = _body(info, model)
    missing = sorted(name for name in report["missing_keys"] if f"model.{name}" in body.state_dict())
    if missing:
        raise UserError(f"{info.label}: its file has no weights for {', '.join(missing[:4])}", "use weights: random")
    return body.state_dict()


def tokenizer(info: BackboneInfo) -> str:
    """Return the tokeniser, as JSON, that comes with an encoder.

    Raises:
        UserError: It is not the one that the recipe was made with.
    """
    return _planned(info).tokenizer


def _planned(info: BackboneInfo) -> EncoderSource:
    """Return what a recipe was made from.

    Raises:
        UserError: It is not there, or has another content.
    """
    encoder = find(info.name, "DEFAULT" if folder_of(info.name) is not None else info.recipe["content"])
    if encoder.content != info.recipe["content"]:
        raise _changed(info)
    return encoder


def _changed(info: BackboneInfo) -> UserError:
    return UserError(
        f"{info.name}: its content here is not the content this run was planned with",
        "it changed meanwhile, or this node has another folder of that name; run the suite again",
    )
