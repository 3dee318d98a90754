"""What a model is asked about: inputs with their names, and what could not be read."""

from __future__ import annotations

from typing import Any, NamedTuple


class Input(NamedTuple):
    """One input.

    Attributes:
        name: Its path below the folder, its id, or its number.
        value: Pixels (C, H, W), or a text.
    """

    name: str
    value: Any


class Unreadable(NamedTuple):
    """An input that was passed over.

    Attributes:
        name: As of :class:`Input`.
        reason: Why.
    """

    name: str
    reason: str
