"""A record in lines for the terminal: what the cell is, how it ended, what it cost, and where it ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.core.record import Cost, Record


def record_lines(record: Record) -> Iterator[str]:
    """Yield the lines of a record, without markup."""
    cell, outcome = record.cell, record.outcome
    yield f"{record.id}  {cell.label}: {record.status}"
    facts: dict[str, dict[str, Any]] = {"params": cell.params, "options": cell.options}
    if outcome is not None:
        facts |= {"test": outcome.scores, "validation": outcome.validation, "selected": outcome.selected}
    for name, values in facts.items():
        if values:
            yield _line(name, ", ".join(f"{key} {_short(value)}" for key, value in values.items()))
    yield _line("cost", _cost(record.cost))
    yield _line("provenance", ", ".join(f"{key} {value}" for key, value in record.provenance.items() if value))
    for note in outcome.notes if outcome is not None else ():
        yield _line("note", note)
    if record.error is not None:
        yield _line("error", f"{record.error['type']}: {record.error['message']}")
        yield from (f"    {line}" for line in record.error["traceback"].splitlines())


def _line(name: str, text: str) -> str:
    return f"  {name.ljust(10)}  {text}"


def _cost(cost: Cost) -> str:
    parts = [
        *_bill(cost),
        f"wall {cost.seconds:.3g} s, of them {cost.train_seconds:.3g} s fitting",
        f"{cost.peak_memory / 2**20:.0f} MiB",
        f"{_devices(cost.cpus, 'CPU')}, {_devices(cost.gpus, 'GPU')}",
    ]
    return "; ".join(parts)


def _bill(cost: Cost) -> Iterator[str]:
    """Yield what the cell is billed, and what stands on no cell's bill; nothing of records without a bill."""
    if cost.device_seconds is not None:
        told = f"{cost.device_seconds:.3g} {cost.device}-s"
        if cost.embedding_seconds:
            told += f", of them {cost.embedding_seconds:.3g} for embedding {cost.examples_embedded} examples"
        yield told
    for each in cost.shared:
        seconds = "not measured" if each.device_seconds is None else f"{each.device_seconds:.3g} {each.device}-s"
        yield f"shared: {each.label} ({seconds})"


def _devices(count: float, kind: str) -> str:
    return f"{count:g} {kind}" + "s" * (count != 1)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else canonical(value).strip('"')
