"""Counts and durations in the words of the terminal."""

from __future__ import annotations


def cells(count: int) -> str:
    """Return ``1 cell``, ``2 cells``."""
    return f"{count} cell" + "s" * (count != 1)


def duration(seconds: float) -> str:
    """Return a duration as people write it: ``8s``, ``4m10``, ``2h05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}"
