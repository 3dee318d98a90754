"""What a suite may use in all, held against what it has used."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlbench.core.record import Cost
from tlbench.core.resources import Limits


@dataclass
class Budget:
    """The limits of a suite.

    Attributes:
        limits: As the suite has them.
        spent: Hours used so far, by ``gpu`` and ``cpu``: trials, cells and what was made for them.
    """

    limits: Limits
    spent: dict[str, float] = field(default_factory=lambda: {"gpu": 0.0, "cpu": 0.0})

    def take(self, cost: Cost) -> None:
        """Add what something took."""
        self.spent["gpu"] += cost.seconds * cost.gpus / 3600
        self.spent["cpu"] += cost.seconds * cost.cpus / 3600

    @property
    def reached(self) -> bool:
        """Whether nothing more may start."""
        limits = {"gpu": self.limits.gpu_hours, "cpu": self.limits.cpu_hours}
        return any(limit is not None and self.spent[unit] >= limit for unit, limit in limits.items())

    def overrun(self, seconds: float) -> str | None:
        """Say why a cell or trial that has been under way for so long is ended; None where it may go on."""
        minutes = self.limits.cell_minutes
        if minutes is None or seconds < 60 * minutes:
            return None
        return f"over the limit of {minutes:g} minutes a cell"
