"""Any encoder of Hugging Face for texts or images, by hub name or folder, e.g. hf:facebook/dinov2-small; extra hf.

Weights are ``hf``, random, or a file.

Source: Wolf et al. 2020, "Transformers: State-of-the-Art Natural Language Processing", arXiv:1910.03771. An encoder
comes with its own tokeniser. What is known of it can only be read with the library, which imports torch; so this file
does that for suites that name such an encoder, and for no other.
"""

from __future__ import annotations

import json
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
from tlbench.backbones.huggingface_images import (
    ImageParams,
    ImageSource,
    check_reads,
    find_image,
    image_body,
    width,
)
from tlbench.backbones.huggingface_sentences import pooling_of, sentence_settings
from tlbench.backbones.image_recipe import changed_options, image_entries
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
    image = find_image(name, revision_name)
    if image is not None:
        return _describe_image(name, params, weights, image)
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
    weights, shown = _known(name, weights, encoder.content)
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
    return BackboneInfo(name, "hf", "text", label(shown, changed, weights, _weights_label(weights)), recipe)


def _describe_image(name: str, params: dict[str, Any], weights: dict[str, Any], source: ImageSource) -> BackboneInfo:
    """Return the facts of an image encoder, which reads images as its image processor does unless the suite says so."""
    options, made = read_options(name, ImageParams, params), source.made
    size = options.image_size or made.image_size
    check_reads(name, source, size, options)
    changed: dict[str, Any] = {} if size == made.image_size else {"image_size": size}
    changed |= changed_options(made, options)
    weights, shown = _known(name, weights, source.content)
    recipe = {
        "name": shown,
        "family": "hf",
        "weights": weights,
        "content": source.content,
        **image_entries(made, options, size),
    }
    text = label(shown, changed, weights, _weights_label(weights))
    return BackboneInfo(name, "hf", "image", text, recipe, made_for=made.image_size)


def _known(name: str, weights: dict[str, Any], content: str) -> tuple[dict[str, Any], str]:
    """Return the weights and the name as a recipe has them: by content, without a path."""
    folder = folder_of(name)
    if weights["kind"] == "hf":
        weights = {**weights, "name": content if folder is None else weights_hash(name, folder)}
    return weights, name if folder is None else PREFIX + folder.name


def _weights_label(weights: dict[str, Any]) -> str:
    return f"hf:{weights['name'][:8]}" if weights["kind"] == "hf" else ""


def construct(info: BackboneInfo) -> Backbone:
    """Return the network with fresh weights from torch's global generator, without what pools its states."""
    if info.modality == "image":
        return _construct_image(info)
    with quiet():
        return assemble(info, library().AutoModel.from_config(_planned(info).config, dtype="float32"))


def architecture(info: BackboneInfo) -> dict[str, Any]:
    """Return the library's configuration of a network.

    Raises:
        UserError: It is not the one that the recipe was made with.
    """
    config = (_planned_image(info) if info.modality == "image" else _planned(info)).config
    stored: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in stored.items() if not key.startswith("_")}  # a path of this machine


def construct_stored(info: BackboneInfo, architecture: dict[str, Any]) -> Backbone:
    """Return the network of a stored configuration.

    Raises:
        UserError: transformers is not installed, or knows no such network.
    """
    given = {key: value for key, value in architecture.items() if key != "model_type"}
    with quiet():
        try:
            config = library().AutoConfig.for_model(architecture["model_type"], **given)
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{info.label}: transformers does not know it: {error}", "install a newer one") from error
        if info.modality == "image":
            return _image_backbone(info, config)
        return assemble(info, library().AutoModel.from_config(config, dtype="float32"))


def _construct_image(info: BackboneInfo) -> Backbone:
    return _image_backbone(info, _planned_image(info).config)


def _image_backbone(info: BackboneInfo, config: Any) -> Backbone:
    from tlbench.backbones.backbone import Backbone, BodyParts, Prepare, image_input
    from tlbench.backbones.huggingface_body import find_all_sublayers, image_block_classes
    from tlbench.backbones.layer_groups import find_blocks, layer_groups

    size = info.recipe["image_size"]
    with quiet():
        body = image_body(library().AutoModel.from_config(config, dtype="float32"), size)
    kinds = image_block_classes(body)
    blocks = find_blocks(body, kinds)
    return Backbone(
        info=info,
        prepare=Prepare(image_input(info)),
        body=body,
        out_dim=width(config, size),
        parts=BodyParts(layer_groups(body, kinds), blocks, find_all_sublayers(body, blocks)),
    )


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
    folder = folder_of(info.name)
    content = (_planned_image(info) if info.modality == "image" else _planned(info)).content
    revision = "DEFAULT" if folder is not None else content
    if folder is not None and weights_hash(info.name, folder) != info.recipe["weights"]["name"]:
        raise _changed(info)
    more = {"use_safetensors": True, "dtype": "float32", "output_loading_info": True}
    with quiet():
        network = library().AutoModel
        if info.modality == "image":
            network = library().MODEL_MAPPING[type(_planned_image(info).config)]
        model, report = load(network.from_pretrained, info.name, revision, **more)
    body = image_body(model, info.recipe["image_size"]) if info.modality == "image" else _body(info, model)
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


def _planned_image(info: BackboneInfo) -> ImageSource:
    """Return what the recipe of an image encoder was made from.

    Raises:
        UserError: It is not there, or has another content.
    """
    source = find_image(info.name, "DEFAULT" if folder_of(info.name) is not None else info.recipe["content"])
    if source is None or source.content != info.recipe["content"]:
        raise _changed(info)
    return source


def _changed(info: BackboneInfo) -> UserError:
    return UserError(
        f"{info.name}: its content here is not the content this run was planned with",
        "it changed meanwhile, or this node has another folder of that name; run the suite again",
    )
