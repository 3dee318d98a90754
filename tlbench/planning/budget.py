"""What a suite may use in all, and how much of it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tlbench.core.record import Cost
from tlbench.core.resources import Limits
from tlbench.planning.prepare import PreparedSuite
from tlbench.store.ledger import Ledger

Device = Literal["gpu", "cpu"]


class HourLimit(NamedTuple):
    """A limit on hours, and how many of them are used."""

    device: Device
    used: float
    limit: float

    @property
    def reached(self) -> bool:
        """Whether nothing more may start."""
        return self.used >= self.limit


@dataclass
class Budget:
    """The limits of a suite and the hours used so far.

    Attributes:
        limits: As the suite gives them.
        spent: Hours used so far, by device: by trials, by cells, and by the artifacts that were built for them.
    """

    limits: Limits
    spent: dict[Device, float] = field(default_factory=lambda: {"gpu": 0.0, "cpu": 0.0})

    def add(self, cost: Cost) -> None:
        """Add the cost of a trial, a cell or an artifact."""
        self.spent["gpu"] += cost.seconds * cost.gpus / 3600
        self.spent["cpu"] += cost.seconds * cost.cpus / 3600

    @property
    def hour_limits(self) -> Iterator[HourLimit]:
        """The limits on hours that the suite has."""
        limits: dict[Device, float | None] = {"gpu": self.limits.gpu_hours, "cpu": self.limits.cpu_hours}
        return (HourLimit(unit, self.spent[unit], limit) for unit, limit in limits.items() if limit is not None)

    @property
    def reached(self) -> bool:
        """Whether nothing more may start."""
        return any(each.reached for each in self.hour_limits)

    def overrun(self, seconds: float) -> str | None:
        """Say why a cell or trial that has run for so long is to be stopped; None where it may go on."""
        minutes = self.limits.cell_minutes
        if minutes is None or seconds < 60 * minutes:
            return None
        return f"over the limit of {minutes:g} minutes a cell"


def budget_of(prepared: PreparedSuite, ledger: Ledger) -> Budget:
    """Return the budget of a suite, with what its trials and cells in the ledger used.

    Where no limit on hours asks for it, nothing is read and ``spent`` stays 0.
    """
    budget = Budget(prepared.suite.limits)
    if any(budget.hour_limits):
        for record in ledger.records((*(cell.id for cell in prepared.plan.cells), *prepared.searches.trial_ids)):
            budget.add(record.cost)
    return budget
