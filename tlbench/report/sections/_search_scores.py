"""The validation score that decided a search: its name, its unit, and the way people read it."""

from __future__ import annotations

from tlbench.report import number_format as text
from tlbench.suite.search_validation import SHARES

_UNITS = dict.fromkeys(SHARES, "%") | {"entropy": "nats", "information": "nats", "density": "nats", "last": "steps"}


def name_and_unit(criterion: str) -> str:
    """Return a score's name and its unit, where it has one: ``accuracy, %``, ``information, nats``."""
    name = criterion.replace("_", " ")
    return f"{name}, {_UNITS[criterion]}" if criterion in _UNITS else name


def factor(criterion: str) -> float:
    """Return by what a stored score is multiplied for the unit that :func:`name_and_unit` names."""
    return 100.0 if criterion in SHARES else 1.0


def score_text(criterion: str, value: float | None) -> str:
    """Return a stored score as people read it: 0.934 of ``accuracy`` as ``93.4``, 2.21341 nats as ``2.213``."""
    if criterion in SHARES or value is None:
        return text.percent(value)
    digits = f"{abs(value):.0f}" if abs(value) >= 1000 else f"{abs(value):.4g}"
    return f"{text.MINUS if value < 0 else ''}{digits}"
