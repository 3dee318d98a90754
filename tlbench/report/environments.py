"""What the cells of a row were computed with, and where that differs within the row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tlbench.report import number_format as text

_NAMES = {"device": "device types", "precision": "precisions", "workers": "numbers of workers"}


class Environment(NamedTuple):
    """What a cell was computed with, as its provenance says; a fact that it does not hold is empty, hence unknown.

    Attributes:
        device: Type of the device, ``cpu`` or ``cuda``.
        precision: What training steps were computed in.
        workers: Number of processes that trained the cell together.
        torch: Version, as of the other libraries.
    """

    device: str = ""
    precision: str = ""
    workers: str = ""
    torch: str = ""
    torchvision: str = ""
    timm: str = ""
    transformers: str = ""


@dataclass(frozen=True)
class Mixture:
    """A fact in which the environments of a row's cells differ.

    Attributes:
        fact: A field of :class:`Environment`.
        counts: Values, each with the number of cells that have it, the most frequent first.
        unknown: Number of cells that do not say.
    """

    fact: str
    counts: tuple[tuple[str, int], ...]
    unknown: int

    @property
    def name(self) -> str:
        """What is mixed, in words: ``device types``, ``versions of torch``."""
        return _NAMES.get(self.fact, f"versions of {self.fact}")

    @property
    def values(self) -> str:
        """The values in words: ``cpu (3 cells), cuda (2 cells)``."""
        parts = [f"{value} ({text.counted(number, 'cell')})" for value, number in self.counts]
        return ", ".join([*parts, *([f"not recorded ({text.counted(self.unknown, 'cell')})"] if self.unknown else [])])

    def __str__(self) -> str:
        """Return the sentence for a row."""
        return f"mixes {self.name}: {self.values}"


def mixtures(environments: Iterable[Environment]) -> tuple[Mixture, ...]:
    """Return the facts in which the environments of one row's cells differ; unknown is not different.

    Args:
        environments: One a cell.
    """
    cells = Counter(environments)
    if len(cells) < 2:
        return ()
    found = []
    for place, fact in enumerate(Environment._fields):
        counts: Counter[str] = Counter()
        for environment, number in cells.items():
            counts[environment[place]] += number
        unknown = counts.pop("", 0)
        if len(counts) > 1:
            ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            found.append(Mixture(fact, tuple(ordered), unknown))
    return tuple(found)
