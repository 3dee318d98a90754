"""Where an encoder of Hugging Face lies, in a folder or on the hub, what it holds, and by what content it is known.

No code of a repository is run, and no pickle read.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tlbench.backbones import hub
from tlbench.backbones.damaged_weights import check_content
from tlbench.core.errors import UserError
from tlbench.core.hashing import digest
from tlbench.core.paths import expand

T = TypeVar("T")

PREFIX = "hf:"
_CONTENT = (
    "config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.*",
)


@dataclass(frozen=True)
class EncoderSource:
    """An encoder as it lies in a folder or on the hub.

    Attributes:
        config: The library's configuration.
        tokenizer: The tokeniser as JSON.
        pad: Its id of padding.
        mask: Its id of the mask.
        special: Its special ids.
        positions: Most tokens of a text that the network and the tokeniser take.
        content: The commit on the hub, or the hash of the folder's configuration and tokeniser.
    """

    config: Any
    tokenizer: str
    pad: int
    mask: int
    special: tuple[int, ...]
    positions: int
    content: str


def library() -> Any:
    """Return the module ``transformers``.

    Raises:
        UserError: It is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise UserError(
            f"backbones {PREFIX}NAME need the library {error.name}, which is not installed",
            "pip install 'tlbench[hf]', or uv sync --extra hf",
        ) from error
    return transformers


def folder_of(name: str) -> Path | None:
    """Return the folder that a name stands for; None for a name of the hub.

    Raises:
        UserError: The folder's path is relative, or there is no encoder in it.
    """
    own = name.removeprefix(PREFIX)
    if own.startswith("."):
        hint = f"write {PREFIX}{Path(own).resolve()}"
        raise UserError(f"{name}: a folder is named by its whole path, which starts with / or ~", hint)
    if not own.startswith(("/", "~")):
        return None
    folder = expand(own)
    if not (folder / "config.json").is_file():
        raise UserError(f"{name}: there is no config.json in {folder}", "give a folder that save_pretrained wrote")
    return folder


@cache
def find(name: str, revision_name: str) -> EncoderSource:
    """Look an encoder up, once a process.

    Args:
        name: As in the suite.
        revision_name: The revision on the hub, or ``DEFAULT``.

    Raises:
        UserError: It cannot be loaded, is no encoder, or its tokeniser lacks a token for padding or for the mask.
    """
    theirs, folder = library(), folder_of(name)
    content = commit_or_hash(name, revision_name)
    revision = "DEFAULT" if folder is not None else content
    with quiet():
        config = load(theirs.AutoConfig.from_pretrained, name, revision)
        _check_encoder(name, config)
        words = load(theirs.AutoTokenizer.from_pretrained, name, revision)
    if not words.is_fast or words.pad_token_id is None or words.mask_token_id is None:
        what = "has no fast tokeniser" if not words.is_fast else "has no token for padding, or none for the mask"
        raise UserError(f"{name}: {what}", "name an encoder that has")
    model = words.backend_tokenizer
    model.no_truncation()
    model.no_padding()
    special = (token for token, added in model.get_added_tokens_decoder().items() if added.special)
    return EncoderSource(
        config=config,
        tokenizer=model.to_str(),
        pad=words.pad_token_id,
        mask=words.mask_token_id,
        special=tuple(sorted(special)),
        positions=min(words.model_max_length, _positions(config)),
        content=content,
    )


def commit_or_hash(name: str, revision_name: str) -> str:
    """Return by what content an encoder is known: its commit on the hub, or the hash of a folder's configuration.

    Raises:
        UserError: It cannot be had, or a folder is asked for a revision.
    """
    folder = folder_of(name)
    if folder is None:
        return _commit(name, revision_name)
    if revision_name != "DEFAULT":
        raise UserError(f"{name}: a folder has no revision {revision_name!r}", "use weights: hf")
    return _content_hash(folder)


def _positions(config: Any) -> int:
    """Return the most tokens that a network has positions for.

    Networks whose table of positions has a row for padding, as RoBERTa's, count from behind that row.
    """
    import torch

    most = getattr(config, "max_position_embeddings", sys.maxsize)
    with torch.device("meta"):
        network = library().AutoModel.from_config(config)
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(most - module.padding_idx - 1)
    return int(most)


def _commit(name: str, revision_name: str) -> str:
    """Return the commit of a revision on the hub; the cache keeps each in a folder of that name."""

    def locate(source: str, trust_remote_code: bool, **more: Any) -> Path:
        return Path(library().utils.cached_file(source, "config.json", **more))

    return load(locate, name, revision_name).parent.name


def _check_encoder(name: str, config: Any) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    network = library().MODEL_MAPPING.get(type(config), None)
    reads = inspect.signature(network.forward).parameters if network is not None else {}
    fits = config.model_type in MASKED and {"input_ids", "attention_mask"} <= set(reads)
    if not fits or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise UserError(
            f"{name}: a {config.model_type} is no encoder of texts that reads a mask of padding, nor one of images",
            "name one that was trained as a masked language model, as BERT, RoBERTa, DistilBERT or ModernBERT were",
        )


def load(loader: Callable[..., T], name: str, revision_name: str, **more: Any) -> T:
    """Load something of an encoder from its folder, else from the cache, else from the hub.

    Args:
        loader: A ``from_pretrained`` of the library.
        name: As in the suite.
        revision_name: The revision on the hub, or ``DEFAULT``.
        **more: For the loader.

    Raises:
        UserError: It cannot be loaded.
    """
    folder = folder_of(name)
    source = name.removeprefix(PREFIX) if folder is None else str(folder)
    more = {"trust_remote_code": False, **({} if revision_name == "DEFAULT" else {"revision": revision_name}), **more}
    try:
        if folder is not None:
            return loader(source, local_files_only=True, **more)
        return hub.from_cache_first(lambda: loader(source, **more))
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{name}: cannot be had ({type(error).__name__}: {reason})",
            "load it once where there is a network and set HF_HOME to that cache (HF_HUB_OFFLINE=1 then keeps from "
            "asking the hub), or name a folder by its whole path; weights must be .safetensors",
        ) from error


def _content_hash(folder: Path) -> str:
    """Return the hash of what decides architecture and tokeniser."""
    files = {file.name: file for pattern in _CONTENT for file in folder.glob(pattern)}
    return digest({name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()})


@cache
def weights_hash(name: str, folder: Path) -> str:
    """Return the hash of the weights in a folder.

    Raises:
        UserError: There are none in a form that holds no code.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        hint = "save them with save_pretrained, or use weights: random"
        raise UserError(f"{name}: there are no .safetensors weights in {folder}", hint)
    whole = hashlib.sha256()
    for file in files:
        check_content(file)
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library from printing bars and tables of what it loads."""
    logging = library().utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
