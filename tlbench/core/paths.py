"""Paths as users write them: ``~`` and ``$VAR`` are expanded alike everywhere, and what can be no path is told."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from tlbench.core.errors import UserError

_IMPOSSIBLE = {errno.ELOOP: "links that lead back to themselves", errno.ENAMETOOLONG: "a name that is too long"}
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_SHOWN = 200  # characters of a path in an error


def expand(text: str, base: Path | None = None) -> Path:
    """Return a path with ``~``, ``~user`` and ``$VAR`` replaced; a path that exists as it is written is left so.

    Args:
        text: As the user wrote it.
        base: The folder that a relative path starts from, else the current one.

    Raises:
        UserError: The path is empty or not UTF-8, names an unknown user or a variable that is not set, or cannot be
            opened whatever lies there: a loop of links, a name that is too long, a character that no path has.
    """
    shown = shortened(readable(text))
    if not text.strip():
        raise UserError("a path is empty", "write the path, or . for the folder itself")
    base = Path() if base is None else base
    check_utf8(base / text)
    if _exists(base / text, shown):
        return Path(text)
    changed = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111  # Path's own raises for unknown users
    if changed.startswith("~"):
        user = changed[1:].partition("/")[0]
        raise UserError(f"{shown}: there is no user {user!r} here", f"write the whole path, or ./{shown}")
    for braced, plain in _VARIABLE.findall(text):
        if (braced or plain) not in os.environ:
            raise UserError(f"{shown}: the variable {braced or plain} is not set", "set it, or write the whole path")
    _exists(check_utf8(base / changed), shown)
    return Path(changed)


def check_utf8(path: Path) -> Path:
    """Return a path that results may be named by.

    Raises:
        UserError: It is not UTF-8: records, MLflow and Ray cannot hold it.
    """
    whole = str(path.absolute())
    if not is_utf8(whole):
        raise UserError(
            f"{readable(whole)}: the path is not UTF-8",
            "rename the file or folder; below a folder of data, names may be so",
        )
    return path


def shortened(text: str) -> str:
    """Return a path as errors show it: without the middle of what is longer than a few lines."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 4 :]}"


def kind_of_file(path: Path) -> str:
    """Return what lies at a path, behind links: "a file", "a folder", "a named pipe" or the like; empty for nothing."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "something that is no file")
    except (OSError, ValueError):
        return ""


def readable(name: str) -> str:
    r"""Return a path or name as it is shown and stored: bytes that are not UTF-8 as ``\xef``.

    Python keeps such bytes as halves of characters, which nothing that is stored or printed can hold.
    """
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Return whether a path or name is UTF-8 on the disk."""
    return readable(name) == name


def _exists(path: Path, shown: str) -> bool:
    """Say whether something lies at a path.

    Raises:
        UserError: Nothing ever can.
    """
    try:
        path.stat()
    except ValueError as error:
        raise UserError(f"{shown!r}: no path: {error}", "write the path of a file or folder") from error
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            raise UserError(f"{shown}: {_IMPOSSIBLE[error.errno]}", "give the path of a real file or folder") from error
        return False
    return True
