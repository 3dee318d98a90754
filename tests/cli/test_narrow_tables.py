"""Tables of searches and of copies in narrow terminals: the name of a row stays in few lines, other columns go."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from tlbench.audit.results import Audit, Overlap
from tlbench.cli.audit_table import overlap_table
from tlbench.cli.search_table import search_table
from tlbench.planning.search_results import SearchResult

WIDTHS = (36, 40, 50, 60, 80, 120)
LABEL = "discriminative_lr | resnet18/imagenet | folder(images/plants) | 5 shots | seed 0"


def printed(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    Console(width=width, file=file, soft_wrap=True, highlight=False).print(table)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_searches(width: int) -> None:
    values = {"lr": 0.00123, "decay": 0.65, "weight_decay": 0.0001}
    result = SearchResult(LABEL, 16.0, 1, 1234.5, 0.8125, 0.875, 7, values, trainings=48.0)
    lines = printed(search_table([result], width), width)
    assert max(map(len, lines)) <= width
    heading, *rows = lines[next(n for n, line in enumerate(lines) if line.startswith(" setting")) :]
    assert "best" in heading
    assert "0.875" in rows[0]
    assert sum(len(row.strip()) > 0 for row in rows) <= 8
    assert ("trainings" in heading) == (width >= 100)
    joined = "".join(row[: heading.index("best") - 2].replace(" ", "") for row in rows) if width == 40 else ""
    assert width != 40 or joined == LABEL.replace(" ", "")


@pytest.mark.parametrize("width", WIDTHS)
def test_copies(width: int) -> None:
    overlap = Overlap(
        test="folder(images/plants): test part", tests=1234, against="folder(images/plants): training", trained=20000,
        exact=3, near=12, same_class=15, expected=0.0001, measure="images", pairs=(),
    )  # fmt: skip
    audit = Audit(suite="s", finished=0, version="", commit="", device="cpu", planned=1, cells=(), overlaps=(overlap,))
    lines = printed(overlap_table(audit, width), width)
    assert max(map(len, lines)) <= width
    (heading,) = (line for line in lines if "tested" in line)
    first = lines[lines.index(heading) + 2]
    assert "exact" in heading
    assert "near" in heading
    assert (" 3 " in first, "12" in first) == (True, True)
    assert ("share" in heading) == (width >= 56)
    assert len(lines) <= 10
