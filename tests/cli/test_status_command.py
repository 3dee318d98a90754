"""The commands status and cell: why cells failed, and the record of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from looked_suite import commit


def test_status_groups_failures_by_reason_and_lists_cells_when_asked(command: Any, file: Callable[..., Path]) -> None:
    path = file()
    prepared = commit(path, 5, error="boom [red]")
    commit(path, 1, error="bang")
    commit(path, 2)
    lines = command("status", path).out.splitlines()
    assert lines[0] == "looked: 12 cells · 4 todo · 2 done · 6 failed"
    assert "  failed cells run again with --retry-failed" in lines
    first = lines.index("  5 cells failed: ValueError: boom [red]")
    assert lines[first + 1].startswith(
        f"    {prepared.plan.cells[0].id}  knn | conv4(width=8)/random | digits | 1 shot | "
    )
    assert lines[first + 4] == "    and 2 more (--cells lists all)"
    assert lines[first + 5] == "  1 cell failed: ValueError: bang"
    listed = command("status", path, "--cells").out.splitlines()[len(lines) :]
    assert [line.split()[0] for line in listed] == [cell.id for cell in prepared.plan.cells]
    assert [line.split()[1] for line in listed] == ["failed"] * 6 + ["done"] * 2 + ["todo"] * 4


def test_cell_tells_one_record_by_the_start_of_its_id(command: Any, file: Callable[..., Path]) -> None:
    prepared = commit(file(), 1)
    commit(file(), 1, error="boom")
    done, failed = (cell.id for cell in prepared.plan.cells[:2])
    told = command("cell", done[:8]).out
    assert told.startswith(f"{done}  knn | conv4(width=8)/random | digits | 1 shot | seed 0: done\n")
    assert "  test        accuracy 0.25\n" in told
    assert "  note        seen\n" in told
    told = command("cell", failed).out
    assert "  error       ValueError: boom\n" in told
    assert told.endswith("    line 1\n    line 2\n")
    stored = json.loads(command("cell", done, "--json").out)
    assert stored["cell"]["id"] == done
    assert stored["digest"]
    assert "several cells start with ''" in command("cell", "").err
