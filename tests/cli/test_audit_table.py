"""An audit as lines for a terminal."""

from __future__ import annotations

from tlbench.audit.results import (
    BATCHES,
    TEST_LABELS,
    Audit,
    AuditedCell,
    Overlap,
    Pair,
)
from tlbench.cli.audit_table import cell_lines, examples, overlap_table


def test_an_audit_tells_what_failed_and_escapes_what_users_name() -> None:
    checks = [
        {"check": TEST_LABELS, "verdict": "failed", "detail": "differs in [bold]model"},
        {"check": BATCHES, "verdict": "declared"},
    ]
    cell = AuditedCell(
        id="0" * 20, protocol="classification", method="m[red]", backbone="b", dataset="d", shots=1, seed=0,
        method_source="m", protocol_source="p", checks=checks,  # type: ignore[arg-type]
    )  # fmt: skip
    lines = list(cell_lines(cell))
    assert "m\\[red] | b | d | 1 shot | seed 0" in lines[0]
    assert "test labels [bold red]FAILED[/] · batches declared transductive" in lines[1]
    assert lines[2].strip() == f"{TEST_LABELS}: differs in \\[bold]model"
    found = Audit(
        suite="s", finished=0, version="", commit="", device="cpu", planned=1, cells=(cell,), overlaps=()
    )  # fmt: skip
    assert not found.passed
    assert found.summary == "audited: 1 of 1 cell, 1 failed"
    assert overlap_table(found).row_count == 0
    pair = Pair(test_row=3, row=5, distance=0.05, test_class="a", row_class="b", test_text="Go!", text="go")
    overlap = Overlap(
        test="t: test part", tests=10, against="[red]", trained=20, exact=0, near=1, same_class=0, expected=0.0,
        measure="texts", pairs=(pair,),
    )  # fmt: skip
    assert overlap_table(found.model_copy(update={"overlaps": (overlap,)})).row_count == 1
    (line,) = examples(overlap)
    assert line == "  row 3 (a) of t: test part and row 5 (b) of [red], 0.05 apart: 'Go!' | 'go'"
