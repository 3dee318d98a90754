"""How a sentence encoder's own files say that texts are read: what pools the tokens, and how long a text may be.

The files are those of the library sentence-transformers (Reimers and Gurevych 2019, arXiv:1908.10084): ``modules.json``
lists its modules, among them one that pools, which has a folder with a ``config.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tlbench.backbones import hub
from tlbench.backbones.huggingface_files import PREFIX, folder_of, library
from tlbench.core.errors import UserError

_MODULES, _LENGTH = "modules.json", "sentence_bert_config.json"
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_OTHER = "pooling_mode_"


@dataclass(frozen=True)
class SentenceSettings:
    """What a sentence encoder says of itself.

    Attributes:
        pooling: ``mean``, ``cls``, or how it calls one that is neither; empty where it says nothing.
        max_length: Most tokens of a text; 0 where it says nothing.
    """

    pooling: str = ""
    max_length: int = 0


def sentence_settings(name: str, revision: str) -> SentenceSettings:
    """Return what an encoder's repository or folder says of pooling and length.

    Args:
        name: As in the suite.
        revision: The revision on the hub, or ``DEFAULT``.
    """
    modules = _read(name, revision, _MODULES)
    if not isinstance(modules, list):
        return SentenceSettings()
    place = next((str(each.get("path", "")) for each in modules if str(each.get("type", "")).endswith("Pooling")), "")
    pooling = _read(name, revision, f"{place}/config.json") if place else None
    length = _read(name, revision, _LENGTH)
    most = length.get("max_seq_length") if isinstance(length, dict) else None
    return SentenceSettings(_mode(pooling) if isinstance(pooling, dict) else "", most or 0)


def pooling_of(name: str, settings: SentenceSettings, asked: str | None) -> str:
    """Return the pooling that a suite asks for, else the encoder's own, else the mean.

    Raises:
        UserError: The encoder's own is neither mean nor cls, and the suite asks for none.
    """
    if asked is not None:
        return asked
    if settings.pooling in ("", *_MODES.values()):
        return settings.pooling or "mean"
    raise UserError(
        f"{name}: it pools its tokens by {settings.pooling}, which tlbench does not", "say pooling: mean, or cls"
    )


def _mode(config: dict[str, Any]) -> str:
    """Return the pooling of a configuration: its own word in newer files, the flags that are set in older ones."""
    if isinstance(config.get("pooling_mode"), str):
        return str(config["pooling_mode"])
    flags = [key for key, value in config.items() if key.startswith(_OTHER) and value is True]
    return "+".join(_MODES.get(flag, flag.removeprefix(_OTHER)) for flag in flags)


def _read(name: str, revision: str, file: str) -> Any:
    """Return what a JSON file of a repository holds; None where there is none."""
    folder = folder_of(name)
    if folder is not None:
        path = folder / file
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    more = {} if revision == "DEFAULT" else {"revision": revision}
    find = partial(library().utils.cached_file, name.removeprefix(PREFIX), file, **more)
    try:
        found = hub.from_cache_first(find, (OSError, ValueError))
    except (OSError, ValueError):  # it is not in the cache, not on the hub, or the hub cannot be asked
        return None
    return None if found is None else json.loads(Path(found).read_text(encoding="utf-8"))
