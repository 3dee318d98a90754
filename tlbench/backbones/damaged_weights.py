"""What lies in the place of weights where a download went wrong, told from the first bytes and the header. No torch.

Pointers of Git LFS and web pages come with the name of the file that was meant; copies and downloads are cut off.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from tlbench.core.errors import UserError
from tlbench.core.paths import kind_of_file

_HEAD = 1024
_END, _LONGEST_END = b"PK\x05\x06", 22 + 2**16  # of a zip: its last record, and the most bytes that this has
_POINTER = b"version https://git-lfs"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b"<script")
_OTHERS = {
    b"\x89HDF": "is HDF5, as Keras writes it",
    b"GGUF": "is GGUF, which llama.cpp reads",
    b"\x1f\x8b": "is packed with gzip",
    b"BZh": "is packed with bzip2",
    b"\xfd7zXZ": "is packed with xz",
    b"Rar!": "is packed with rar",
    b"7z\xbc\xaf": "is packed with 7z",
}
_AGAIN = "download or copy it again"
_FORMATS = "give a .safetensors file, or a torch file of tensors only"


def torch_format(file: Path) -> Literal["zip", "pickle", ""]:
    """Return how torch wrote a file: as a zip archive, or, before its version 1.6, as pickles; else nothing."""
    with file.open("rb") as stream:
        start = stream.read(2)
    return "zip" if start == b"PK" else "pickle" if start[:1] == b"\x80" else ""


def check_content(file: Path) -> None:
    """Refuse a file that holds no weights, or a part of them only; reads its first bytes and its header.

    Raises:
        UserError: Says what it is instead, and what to do.
    """
    where, kind = f"weights file {file}", kind_of_file(file)
    if kind != "a file":
        raise UserError(f"{where}: {f'is {kind}' if kind else 'no such file or directory'}", _FORMATS)
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}", _FORMATS) from error
    if not size:
        raise UserError(f"{where}: is empty", _AGAIN)
    if head.startswith(_POINTER):
        raise UserError(
            f"{where}: is a pointer of Git LFS, not the weights{_pointed_size(head)}",
            "run `git lfs pull` in its repository, or download the file itself",
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        raise UserError(
            f"{where}: is a web page, not weights",
            "download the file itself, from a link that ends in it, with the rights that it needs",
        )
    other = next((what for magic, what in _OTHERS.items() if head.startswith(magic)), "")
    if other:
        raise UserError(f"{where}: {other}", _FORMATS)
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        line = head.decode("ascii").strip().partition("\n")[0][:80]
        raise UserError(f"{where}: is a text, not weights: {line!r}", "download the file itself")
    if head.startswith(b"PK"):
        if not _has_directory(file, size):
            raise UserError(f"{where}: is cut off at {size} bytes: the directory at its end is missing", _AGAIN)
    elif not head.startswith(b"\x80"):
        _check_safetensors(where, file, size)


def _has_directory(file: Path, size: int) -> bool:
    """Return whether a zip has the directory that stands at its end; tells nothing of what stands in it."""
    with file.open("rb") as stream:
        stream.seek(max(0, size - _LONGEST_END))
        return _END in stream.read()


def _check_safetensors(where: str, file: Path, size: int) -> None:
    """Refuse a file that has no header of safetensors, or less than the tensors that the header tells of."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        start = stream.read(1)
        if start != b"{" or length > 100 * 2**20:
            raise UserError(f"{where}: is neither a safetensors nor a torch file", _FORMATS)
        text = start + stream.read(length - 1)
    if len(text) < length:
        raise UserError(f"{where}: is cut off at {size} bytes, within its header", _AGAIN)
    try:
        tensors = [facts for name, facts in json.loads(text).items() if name != "__metadata__"]
        whole = 8 + length + max((int(facts["data_offsets"][1]) for facts in tensors), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: its header of safetensors is damaged", _AGAIN) from error
    if size < whole:
        raise UserError(f"{where}: is cut off: it has {size} of {whole} bytes", _AGAIN)


def _pointed_size(head: bytes) -> str:
    sizes = [line.split()[1] for line in head.decode("ascii", "replace").splitlines() if line.startswith("size ")]
    return f" of {sizes[0]} bytes" if sizes and sizes[0].isdigit() else ""
