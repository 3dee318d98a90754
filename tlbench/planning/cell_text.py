"""Says in lines for people what a cell is and what its record holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.core.record import Record


def told(record: Record) -> Iterator[str]:
    """Yield lines that tell a record to people: what the cell is, how it ended, what it took, and where."""
    cell, outcome, cost = record.cell, record.outcome, record.cost
    yield f"{record.id}  {cell.label}: {record.status}"
    facts: dict[str, Any] = {"params": cell.params, "options": cell.options}
    if outcome is not None:
        facts |= {"test": outcome.scores, "validation": outcome.validation, "selected": outcome.selected}
    for name, values in facts.items():
        if values:
            yield f"  {name.ljust(10)}  {', '.join(f'{key} {_short(value)}' for key, value in values.items())}"
    yield (
        f"  {'cost'.ljust(10)}  {cost.seconds:.3g} s, of them {cost.train_seconds:.3g} s fitting;"
        f" {cost.peak_memory / 2**20:.0f} MiB; {_devices(cost.cpus, 'CPU')}, {_devices(cost.gpus, 'GPU')}"
    )
    yield f"  {'made by'.ljust(10)}  {', '.join(f'{key} {value}' for key, value in record.provenance.items() if value)}"
    for note in outcome.notes if outcome is not None else ():
        yield f"  {'note'.ljust(10)}  {note}"
    if record.error is not None:
        yield f"  {'error'.ljust(10)}  {record.error['type']}: {record.error['message']}"
        yield from (f"    {line}" for line in record.error["traceback"].splitlines())


def counted(count: int) -> str:
    """Return ``1 cell``, ``2 cells``."""
    return f"{count} cell" + "s" * (count != 1)


def clock(seconds: float) -> str:
    """Return a duration as people write it: ``8s``, ``4m10``, ``2h05``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}"


def _devices(count: float, kind: str) -> str:
    return f"{count:g} {kind}" + "s" * (count != 1)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else canonical(value).strip('"')
