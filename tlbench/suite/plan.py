"""The plan of a suite: its cells, what it lists that makes no sense, and the status of each cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from tlbench.core.cell import Cell
from tlbench.core.hashing import canonical
from tlbench.core.info import Shots
from tlbench.core.not_applicable import NotApplicable
from tlbench.core.planned_setting import PlannedSetting, merge_settings
from tlbench.core.record import ResultInfo
from tlbench.plugins.staleness import InstalledCode, Marks
from tlbench.suite.row_names import GivenNames

_NAMED = 3  # backbones, datasets and shots that a line about what is not applicable names


@dataclass(frozen=True, slots=True)
class NotApplicableSetting:
    """A setting that makes no sense, by its labels, with the reason and the number of its cells, one a seed."""

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: Shots
    reason: str
    count: int


@dataclass(frozen=True)
class PlanStatus:
    """The cells of a plan, each in exactly one list, all in the plan's order.

    Attributes:
        todo: Without a result.
        done: Done with today's code.
        failed: Ended in an error.
        stale: Done, but by code that has changed since, or with parameters that such code found.
    """

    todo: list[Cell]
    done: list[Cell]
    failed: list[Cell]
    stale: list[Cell]

    @property
    def lists(self) -> dict[str, list[Cell]]:
        """The lists by the name of the status."""
        return {"todo": self.todo, "done": self.done, "failed": self.failed, "stale": self.stale}


@dataclass(frozen=True)
class Plan:
    """All cells of a suite.

    Attributes:
        cells: Unique by id; cells that share weights, then a dataset, stand together.
        not_applicable: Settings that make no sense, with reasons.
        code: The methods and protocols as they are installed.
        names: What the suite calls its rows.
    """

    cells: list[Cell]
    not_applicable: list[NotApplicableSetting]
    code: InstalledCode
    names: GivenNames = field(default_factory=GivenNames)

    def status(self, results: Mapping[str, ResultInfo], badly_tuned: Collection[str] = ()) -> PlanStatus:
        """Sort the cells by their results.

        Args:
            results: By cell id; those of other suites do no harm. An empty mark counts as unchanged.
            badly_tuned: Ids of the cells whose parameters were found by code that has changed since; they are stale.
        """
        status = PlanStatus([], [], [], [])
        for cell in self.cells:
            result = results.get(cell.id)
            if result is None:
                status.todo.append(cell)
            elif result.status == "failed":
                status.failed.append(cell)
            elif cell.id in badly_tuned or self._has_changed(cell, result):
                status.stale.append(cell)
            else:
                status.done.append(cell)
        return status

    def _has_changed(self, cell: Cell, result: ResultInfo) -> bool:
        marks = Marks(result.method_source, result.protocol_source)
        return self.code.has_changed(cell.method.name, cell.protocol.name, marks)

    def settings(self) -> tuple[PlannedSetting, ...]:
        """Return the settings of all cells with their seeds, by label, in the plan's order."""
        options = {id(cell.protocol): canonical(cell.protocol.options) for cell in self.cells}
        executions = {cell.execution: canonical(cell.execution.key) for cell in self.cells}
        return merge_settings(
            PlannedSetting(
                protocol=cell.protocol.name,
                options=options[id(cell.protocol)],
                method=cell.method.label,
                backbone=cell.backbone.info.label,
                dataset=cell.dataset.info.name,
                shots=str(cell.shots),
                seeds=(cell.seed,),
                fingerprint=cell.dataset.info.fingerprint,
                execution=executions[cell.execution],
                method_name=self.names.methods.get(cell.method.label, ""),
                backbone_name=self.names.backbones.get(cell.backbone.info.label, ""),
            )
            for cell in self.cells
        )

    def summarize_not_applicable(self) -> list[NotApplicable]:
        """Return what is not applicable in few lines, one for each protocol, method and reason."""
        groups: dict[tuple[str, str, str], list[NotApplicableSetting]] = {}
        for entry in self.not_applicable:
            groups.setdefault((entry.protocol, entry.method, entry.reason), []).append(entry)
        return [
            NotApplicable(
                sum(entry.count for entry in entries),
                reason,
                f"{method} in {protocol}: {_some(e.backbone for e in entries)};"
                f" {_some(e.dataset for e in entries)}; shots {_some(str(e.shots) for e in entries)}",
            )
            for (protocol, method, reason), entries in groups.items()
        ]


def _some(names: Iterable[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:_NAMED]) + (f" and {len(unique) - _NAMED} more" if len(unique) > _NAMED else "")
