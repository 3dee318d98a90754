"""Published figures beside ours, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tlbench.report import number_format as text
from tlbench.report.published import PublishedRow


def published_table(published: Iterable[PublishedRow]) -> Table:
    """Return one row a published figure: theirs, ours, whether they agree, and where theirs is from."""
    title = Text("published figures beside ours, in %")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("theirs", "ours", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("row | source", overflow="fold", ratio=1)
    for each in published:
        reference, ours = each.reference, each.ours
        row = (
            reference.row.method if ours is None else f"{ours.method} | {ours.backbone} | {ours.dataset} | {ours.shots}"
        )
        table.add_row(
            f"{reference.value:.1f}",
            text.NONE if ours is None else text.percent(ours.accuracy.mean),
            text.points(each.difference),
            Text(each.verdict, style="bold" if each.verdict == "differs" else ""),
            Text(row).append(f"\n{reference.source}", style="dim"),
        )
    return table
