"""Python's own documentation on this machine: its packages, their docstrings by file, and pydoc's topics."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from tlbench.core.errors import UserError
from tlbench.data.docstrings import assigned_texts, docstrings, sources

PACKAGES = (
    *("asyncio", "email", "encodings", "http", "idlelib", "importlib"),
    *("multiprocessing", "tkinter", "unittest", "urllib", "xml"),
)
OTHER, TOPICS = "other", "topics"
_TOPICS_FILE = "pydoc_data/topics.py"
_FEWEST_PACKAGES = 8

Texts = dict[str, list[str]]
"""Texts by file, as a path from the library's folder."""


def library() -> Path:
    """Return the folder of Python's own modules."""
    return Path(sysconfig.get_path("stdlib"))


def label_of(name: str) -> str:
    """Return the label of a file's texts: its package, ``other`` or ``topics``."""
    package = name.partition("/")[0]
    return TOPICS if name == _TOPICS_FILE else package if package in PACKAGES else OTHER


def source_files(root: Path, *, everything: bool) -> list[str]:
    """Return the files that are read, as sorted paths from the library's folder.

    Args:
        root: The library's folder.
        everything: Whether all of the library is read, or the eleven packages only.
    """
    return sources(root, sys.stdlib_module_names if everything else PACKAGES)


def read_texts(root: Path, names: list[str]) -> tuple[Texts, list[str]]:
    """Return the texts of files, and the names of those files that cannot be read as Python.

    Args:
        root: The library's folder.
        names: What :func:`source_files` returned.
    """
    texts: Texts = {}
    unreadable = []
    for name in names:
        file = root / name
        try:
            texts[name] = assigned_texts(file, "topics") if name == _TOPICS_FILE else docstrings(file)
        except (SyntaxError, ValueError, RecursionError, OSError):
            unreadable.append(name)
    return texts, unreadable


def packages_with_texts(root: Path, texts: Texts) -> tuple[str, ...]:
    """Return the packages that have texts in two files or more.

    Raises:
        UserError: They are fewer than eight.
    """
    files = [label_of(name) for name, of_file in texts.items() if of_file]
    present = tuple(package for package in PACKAGES if files.count(package) > 1)
    if len(present) < _FEWEST_PACKAGES:
        missing = ", ".join(package for package in PACKAGES if package not in present)
        raise UserError(
            f"{root}: the sources of only {len(present)} of {len(PACKAGES)} packages are here, missing: {missing}",
            "use a Python that is installed with its whole library",
        )
    return present
