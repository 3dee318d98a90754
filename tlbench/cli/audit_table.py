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


def cell_lines(cell: AuditedCell) -> Iterator[str]:
    """Yield what came of a cell, with rich's markup: the cell, then a line for each check that did not simply pass."""
    words = []
    for result in cell.checks:
        word, style = _MARKS[result.verdict]
        words.append(f"{result.check} [{style}]{word}[/]" if style else f"{result.check} {word}")
    yield f"{cell.id[:8]}  {escape(f'{cell.protocol}: {cell.label}')}"
    yield f"          {' · '.join(words)}"
    yield from (f"          {escape(f'{result.check}: {result.detail}')}" for result in cell.checks if result.detail)


def overlap_table(audit: Audit) -> Table:
    """Return the comparisons of test data with what was trained on."""
    table = Table(title="copies of test examples", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("tested", overflow="fold")
    table.add_column("among", overflow="fold")
    for heading in ("exact", "near", "of", "share", "expected"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in audit.overlaps:
        counts = (f"{number:,}" for number in (each.exact, each.near, each.tests))
        shares = (f"{100 * share:.2g}%" for share in (each.share, each.expected))
        row = (each.test, each.against, *counts, *shares)
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
