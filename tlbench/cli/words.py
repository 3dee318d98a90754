"""Counts in the words of the terminal."""

from __future__ import annotations


def cells(count: int) -> str:
    """Return ``1 cell``, ``2 cells``."""
    return f"{count} cell" + "s" * (count != 1)
