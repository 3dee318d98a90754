"""Says why a run or a search ended before its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.store.workspace import Workspace


class Halt(NamedTuple):
    """Why something ended before its end.

    Attributes:
        reason: The limits that were reached, or that the user stopped it.
        before: What to do before the command that continues; empty if nothing.
    """

    reason: str
    before: str


def why_halted(over_budget: bool, prepared: PreparedSuite, workspace: Workspace, suite: Path) -> Halt:
    """Return why a run of a suite was halted.

    Args:
        over_budget: Whether a limit of the suite did it.
        prepared: The suite.
        workspace: Where its results are kept.
        suite: Its file.
    """
    from tlbench.cli.status_text import limit_lines
    from tlbench.planning.budget import budget_of

    if not over_budget:
        return Halt("stopped", "")
    with workspace.ledger() as ledger:
        return Halt("; ".join(limit_lines(budget_of(prepared, ledger))), f"raise it in {suite}, then")
