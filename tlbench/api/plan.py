"""``tlbench.plan``: what a run of a suite will do, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tlbench.api.open_suite import note_of_name, open_suite, open_workspace

if TYPE_CHECKING:
    import pandas as pd

    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.core.not_applicable import NotApplicable
    from tlbench.planning.prepare import PreparedSuite
    from tlbench.planning.status import SuiteStatus
    from tlbench.store.workspace import Workspace


@dataclass(frozen=True)
class SuitePlan:
    """The cells of a suite by their status, and what the rest will cost.

    Attributes:
        status: Everything, as the command ``plan`` prints it.
        notes: What a reader must know of the data, the search and the name of the suite.
    """

    status: SuiteStatus
    notes: tuple[str, ...]

    @property
    def suite(self) -> str:
        """The name of the suite."""
        return self.status.prepared.suite.name

    @property
    def cells(self) -> int:
        """Number of cells, of whatever status."""
        return len(self.status.prepared.plan.cells)

    @property
    def todo(self) -> int:
        """Number of cells that a run would do."""
        return len(self.status.cells.todo)

    @property
    def done(self) -> int:
        """Number of cells with a result of today's code."""
        return len(self.status.cells.done)

    @property
    def stale(self) -> int:
        """Number of cells whose code has changed since."""
        return len(self.status.cells.stale)

    @property
    def failed(self) -> int:
        """Number of cells that failed."""
        return len(self.status.cells.failed)

    @cached_property
    def not_applicable(self) -> tuple[NotApplicable, ...]:
        """Combinations that the suite lists though they make no sense, with ``count``, ``what`` and ``reason``."""
        return tuple(self.status.prepared.plan.summarize_not_applicable())

    @property
    def cpu_hours(self) -> float:
        """CPU-hours that the cells to do and the searches before them will take, as estimated."""
        return self.status.cost.cpu_hours

    @property
    def gpu_hours(self) -> float:
        """GPU-hours that they will take, as estimated."""
        return self.status.cost.gpu_hours

    def to_frame(self) -> pd.DataFrame:
        """Return one row a cell: its id, status, settings and seed.

        Columns: ``cell``, ``status`` (``todo``, ``done``, ``stale`` or ``failed``), ``protocol``, ``method`` (label),
        ``backbone`` (label), ``dataset``, ``shots`` (text), all of dtype ``string``; and ``seed`` (``int64``).
        """
        import pandas as pd

        names = ("cell", "status", "protocol", "method", "backbone", "dataset", "shots", "seed")
        rows = []
        for cell, status in self.status.by_cell():
            said = cell.describe()
            named = (said.protocol, said.method_label, said.backbone_label, said.dataset)
            rows.append((cell.id, status, *named, str(said.shots), said.seed))
        frame = pd.DataFrame(rows, columns=list(names))
        return frame.astype({name: "int64" if name == "seed" else "string" for name in names})

    def __str__(self) -> str:
        counts = ((self.todo, "to do"), (self.done, "done"), (self.stale, "stale"), (self.failed, "failed"))
        parts = [f"{count} {word}" for count, word in counts if count]
        left_out = sum(each.count for each in self.not_applicable)
        parts += [f"{left_out} not applicable"] if left_out else []
        hours = f"about {self.cpu_hours:.2g} CPU-h" + (f", {self.gpu_hours:.2g} GPU-h" if self.gpu_hours else "")
        parts += [hours] if self.todo else []
        return f"{self.suite}: {self.cells} cell{'s' * (self.cells != 1)} · {' · '.join(parts)}"

    def __repr__(self) -> str:
        return f"<SuitePlan {self}>"


def plan(suite: AnySuite, *, workspace: AnyPath | None = None) -> SuitePlan:
    """Return what a run of a suite will do and what it will cost; opens the data, runs nothing.

    Args:
        suite: A suite file, a dictionary, or a :class:`tlbench.Suite`.
        workspace: Where results are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the working directory.

    Raises:
        UserError: The suite, its data or its weights are wrong.
    """
    place = open_workspace(workspace)
    prepared = open_suite(suite, place)
    note = note_of_name(prepared, place)
    return SuitePlan(status_of(prepared, place), (*prepared.warnings, *([note] if note else [])))


def status_of(prepared: PreparedSuite, workspace: Workspace) -> SuiteStatus:
    """Return the status of a suite by the results in a workspace."""
    from tlbench.planning.status import suite_status

    with workspace.ledger() as ledger:
        return suite_status(prepared, ledger)
