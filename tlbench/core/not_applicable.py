"""What a suite lists though it makes no sense, in the words in which it is counted, stored and shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """Cells that are left out for the same reason.

    Attributes:
        count: Number of cells.
        reason: Why they make no sense.
        what: Which they are: method, protocol, and the first few backbones, datasets and shots.
    """

    count: int
    reason: str
    what: str
