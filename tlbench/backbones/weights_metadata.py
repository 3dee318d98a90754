"""What a file of weights carries beside them: the tokeniser, without which the rows of a token table mean nothing.

And what a reader of results must know of the training that made them, and how the network reads its inputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical
from tlbench.core.info import WeightsContents

_KEY, _NOTES, _RECIPE = "tokenizer", "notes", "recipe"


def carried(
    tokenizer: str | None, notes: Sequence[str] = (), recipe: Mapping[str, Any] | None = None
) -> dict[str, str] | None:
    """Return the metadata of a safetensors file.

    The library writes several entries in any order, so those of an image backbone are one: equal weights are equal
    files.

    Args:
        tokenizer: The tokeniser of a text backbone, as JSON.
        notes: What a reader of results must know.
        recipe: Of an image backbone; where its weights came from is left out.
    """
    if recipe is not None:
        kept = {key: value for key, value in recipe.items() if key != "weights"}
        return {_RECIPE: canonical(kept | ({_NOTES: list(notes)} if notes else {}))}
    metadata = {} if tokenizer is None else {_KEY: tokenizer}
    return metadata | ({_NOTES: json.dumps(list(notes))} if notes else {}) or None


def recorded_recipe(contents: WeightsContents, name: str) -> dict[str, Any] | None:
    """Return the recipe that a file of this package carries; None where it carries none, or that of another network."""
    try:
        recipe = json.loads(contents.metadata.get(_RECIPE, "null"))
    except ValueError:
        return None
    return recipe if isinstance(recipe, dict) and recipe.get("name") == name else None


def read_notes(file: Path) -> tuple[str, ...]:
    """Return the notes that a safetensors file of this package carries. Imports no torch."""
    with safe_open(file, "numpy") as opened:
        metadata = opened.metadata() or {}
    return tuple(json.loads(metadata.get(_NOTES, "null")) or json.loads(metadata.get(_RECIPE, "{}")).get(_NOTES, ()))


def read_tokenizer(file: Path, usual: str | None = None) -> str:
    """Return the tokeniser, as JSON, that a safetensors file carries. Imports no torch.

    Args:
        file: The file.
        usual: The tokeniser that goes with the network whatever its weights, which serves a file that carries none.

    Raises:
        UserError: The file cannot be read, or carries none.
    """
    try:
        with safe_open(file, "numpy") as opened:
            tokenizer: str | None = (opened.metadata() or {}).get(_KEY)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"weights file {file}: a text backbone needs a .safetensors file, and this is none ({error})", _HINT
        ) from error
    if tokenizer is None and usual is None:
        raise UserError(f"weights file {file}: carries no tokeniser", _HINT)
    return tokenizer or str(usual)


_HINT = (
    "pre-training writes such files; or save the tensors and the tokeniser they were trained with: "
    "safetensors.torch.save_file(state, path, metadata={'tokenizer': Path('tokenizer.json').read_text()})"
)
