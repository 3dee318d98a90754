"""Content hashes and the seeds derived from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no blanks, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any, length: int = 16) -> str:
    """Return the first ``length`` hexadecimal digits of the SHA-256 of a JSON-like value.

    Names of files that are not UTF-8, of which Python keeps bytes as halves of characters, have one like all others.
    """
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


def derive_seed(*parts: str | int) -> int:
    """Return a 63-bit seed that depends on every part, so that two purposes never share a stream."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def sha256(file: Path) -> str:
    """Return the SHA-256 of a weights file.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        hint = "give the path of a .safetensors or .pt file"
        raise UserError(f"weights file {file}: {error.strerror}", hint) from error
