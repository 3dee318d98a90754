"""What a file of weights carries beside them: the tokeniser, without which the rows of a token table mean nothing.

And what a reader of results must know of the training that made them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from tlbench.core.errors import UserError

_KEY, _NOTES = "tokenizer", "notes"


def carried(tokenizer: str | None, notes: Sequence[str] = ()) -> dict[str, str] | None:
    """Return the metadata of a safetensors file that carries a tokeniser, as JSON, or none, and notes."""
    metadata = {} if tokenizer is None else {_KEY: tokenizer}
    return metadata | ({_NOTES: json.dumps(list(notes))} if notes else {}) or None


def read_notes(file: Path) -> tuple[str, ...]:
    """Return the notes that a safetensors file of this package carries. Imports no torch."""
    with safe_open(file, "numpy") as opened:
        return tuple(json.loads((opened.metadata() or {}).get(_NOTES, "[]")))


def read_tokenizer(file: Path) -> str:
    """Return the tokeniser, as JSON, that a safetensors file carries. Imports no torch.

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
    if tokenizer is None:
        raise UserError(f"weights file {file}: carries no tokeniser", _HINT)
    return tokenizer


_HINT = (
    "pre-training writes such files; or save the tensors and the tokeniser they were trained with: "
    "safetensors.torch.save_file(state, path, metadata={'tokenizer': Path('tokenizer.json').read_text()})"
)
