"""An audit as lines and tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tlbench.audit.results import Audit, AuditedCell, Overlap

_MARKS = {
    "passed": ("passed", "green"),
    "failed": ("FAILED", "bold red"),
    "declared": ("declared transductive", ""),
    "not applicable": ("does not apply", "dim"),
}
_NEEDS = {"exact": 0, "near": 0, "of": 46, "share": 56, "expected": 66}  # columns that a terminal must have


def cell_lines(cell: AuditedCell) -> Iterator[str]:
    """Yield what came of a cell, with rich's markup: the cell, then a line for each check that did not simply pass."""
    words = []
    for result in cell.checks:
        word, style = _MARKS[result.verdict]
        words.append(f"{result.check} [{style}]{word}[/]" if style else f"{result.check} {word}")
    yield f"{cell.id[:8]}  {escape(f'{cell.protocol}: {cell.label}')}"
    yield f"          {' · '.join(words)}"
    yield from (f"          {escape(f'{result.check}: {result.detail}')}" for result in cell.checks if result.detail)


def overlap_table(audit: Audit, width: int = 80) -> Table:
    """Return the comparisons of test data with what was trained on.

    Args:
        audit: All of it.
        width: Columns of the terminal; where they are few, what was compared and the copies stay, others go.
    """
    table = Table(title="copies of test examples", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("tested", overflow="fold")
    table.add_column("among", overflow="fold")
    shown = [heading for heading, needed in _NEEDS.items() if width >= needed]
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in audit.overlaps:
        numbers = {"exact": f"{each.exact:,}", "near": f"{each.near:,}", "of": f"{each.tests:,}"}
        numbers |= {"share": f"{100 * each.share:.2g}%", "expected": f"{100 * each.expected:.2g}%"}
        row = (each.test, each.against, *(numbers[heading] for heading in shown))
        table.add_row(*map(Text, row), style="yellow" if each.exact or each.share > each.expected else None)
    return table


def examples(overlap: Overlap) -> Iterator[str]:
    """Yield a line for each pair that is shown of a comparison."""
    for pair in overlap.pairs:
        kind = "exact" if pair.distance == 0 and pair.test_text == pair.text else f"{pair.distance:.3g} apart"
        texts = f": {pair.test_text!r} | {pair.text!r}" if pair.text else ""
        yield (
            f"  row {pair.test_row} ({pair.test_class}) of {overlap.test} and row {pair.row} ({pair.row_class})"
            f" of {overlap.against}, {kind}{texts}"
        )
