"""Suite minus what is done: the cells of a suite, those that make no sense and why, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tlbench.core.cell import (
    BackboneChoice,
    Cell,
    DatasetChoice,
    MethodChoice,
    ProtocolChoice,
    cell_id,
    task_info,
)
from tlbench.core.config import Settings
from tlbench.core.description import Execution
from tlbench.core.info import DatasetInfo, Shots, TaskInfo
from tlbench.core.label_provenance import labels_shared
from tlbench.core.record import Known
from tlbench.plugins.registry import Declaration
from tlbench.plugins.staleness import InstalledCode, Marks
from tlbench.suite.catalog import Catalog
from tlbench.suite.resolve import choose_listed, choose_protocol
from tlbench.suite.spec import Grid, Suite


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """Cells (``count`` of them, one a seed) that make no sense together, and the reason."""

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
        todo: Never run to an end.
        done: Done with today's code.
        failed: Ended in an error.
        stale: Done, but by code of the method or the protocol that has changed since.
    """

    todo: list[Cell]
    done: list[Cell]
    failed: list[Cell]
    stale: list[Cell]


@dataclass(frozen=True)
class Plan:
    """All cells of a suite.

    Attributes:
        cells: Unique by id; cells that share weights, then a dataset, stand together.
        not_applicable: Combinations that make no sense, with reasons.
        code: What methods and protocols are today.
    """

    cells: list[Cell]
    not_applicable: list[NotApplicable]
    code: InstalledCode

    def status(self, known: Mapping[str, Known]) -> PlanStatus:
        """Sort the cells by what is known of them.

        Args:
            known: By cell id; ids of other suites do no harm. An empty mark counts as unchanged.
        """
        status = PlanStatus([], [], [], [])
        for cell in self.cells:
            before = known.get(cell.id)
            if before is None:
                status.todo.append(cell)
            elif before.status == "failed":
                status.failed.append(cell)
            elif self.code.has_changed(
                cell.method.name, cell.protocol.name, Marks(before.method_source, before.protocol_source)
            ):
                status.stale.append(cell)
            else:
                status.done.append(cell)
        return status

    def reasons(self) -> list[dict[str, Any]]:
        """Return what is not applicable in few lines: ``{"count", "reason", "what"}`` for each method and reason."""
        groups: dict[tuple[str, str, str], list[NotApplicable]] = {}
        for entry in self.not_applicable:
            groups.setdefault((entry.protocol, entry.method, entry.reason), []).append(entry)
        return [
            {
                "count": sum(entry.count for entry in entries),
                "reason": reason,
                "what": f"{method} in {protocol}: {_few(e.backbone for e in entries)};"
                f" {_few(e.dataset for e in entries)}; shots {_few(str(e.shots) for e in entries)}",
            }
            for (protocol, method, reason), entries in groups.items()
        ]


_Setting = tuple[ProtocolChoice, MethodChoice, BackboneChoice, DatasetChoice, Shots]


@dataclass(frozen=True)
class _Contender:
    """A method with what decides whether it can take part."""

    choice: MethodChoice
    declared: Declaration
    config: Settings
    teacher: _Contender | None = None

    @classmethod
    def of(cls, choice: MethodChoice, catalog: Catalog) -> _Contender:
        declared = catalog.declare("methods", choice.name)
        teacher = None if choice.teacher is None else cls.of(choice.teacher.method, catalog)
        return cls(choice, declared, declared.settings(**choice.params), teacher)

    def obstacle(self, task: TaskInfo, backbone: BackboneChoice) -> str | None:
        own = self._own_obstacle(task, backbone)
        if own is not None or self.teacher is None or self.choice.teacher is None:
            return own
        learnt_on = self.choice.teacher.backbone
        reason = _unfit(task, learnt_on) or self.teacher.obstacle(task, learnt_on)
        return None if reason is None else f"its teacher: {reason}"

    def _own_obstacle(self, task: TaskInfo, backbone: BackboneChoice) -> str | None:
        if "fit" not in self.declared.roles:
            return f"{self.choice.name} only pre-trains: name it under a backbone's pretrain"
        if task.protocol not in self.declared.protocols:
            return f"{self.choice.name} does not take part in {task.protocol}"
        if backbone.info.modality not in self.declared.modalities:
            return f"{self.choice.name} does not read {task.dataset.modality} data"
        if self.declared.skip is None:
            return None
        return self.declared.skip(task, backbone.info, self.config)


def expand(
    suite: Suite, catalog: Catalog, datasets: Mapping[str, DatasetChoice], backbones: Mapping[str, BackboneChoice]
) -> Plan:
    """Return all cells of a suite.

    Args:
        suite: The suite.
        catalog: Declares its methods and protocols.
        datasets: The opened datasets by ``DatasetSpec.key`` (see ``Suite.datasets``).
        backbones: The resolved backbones by ``BackboneSpec.key`` (see ``Suite.backbones``).
    """
    cells: dict[str, Cell] = {}
    refused: dict[tuple[Any, ...], NotApplicable] = {}
    for grid in suite.grids:
        protocol = choose_protocol(grid, catalog)
        contenders = _contenders(grid, backbones, catalog)
        for backbone, dataset, shots, task, obstacle in _tasks(grid, protocol, catalog, datasets, backbones):
            for contender in contenders:
                reason = obstacle or contender.obstacle(task, backbone)
                if reason is None:
                    setting = (protocol, contender.choice, backbone, dataset, shots)
                    cells.update(_cells(setting, grid.seeds, suite.resources.execution))
                    continue
                entry = NotApplicable(
                    protocol.name,
                    contender.choice.label,
                    backbone.info.label,
                    dataset.info.name,
                    shots,
                    reason,
                    len(grid.seeds),
                )
                at = (protocol.key, contender.choice.key, backbone.key, dataset.info.fingerprint, shots)
                refused.setdefault(at, entry)
    return Plan(
        _together(cells.values()), list(refused.values()), InstalledCode(catalog.declare, lambda: catalog.methods)
    )


def _contenders(grid: Grid, backbones: Mapping[str, BackboneChoice], catalog: Catalog) -> list[_Contender]:
    choices: dict[str, MethodChoice] = {}
    for spec in grid.methods:
        choice = choose_listed(spec, backbones, catalog)
        choices.setdefault(choice.key, choice)
    return [_Contender.of(choice, catalog) for choice in choices.values()]


def _tasks(
    grid: Grid,
    protocol: ProtocolChoice,
    catalog: Catalog,
    datasets: Mapping[str, DatasetChoice],
    backbones: Mapping[str, BackboneChoice],
) -> Iterator[tuple[BackboneChoice, DatasetChoice, Shots, TaskInfo, str | None]]:
    """Yield each backbone, dataset and shots with the task they pose and what forbids it to every method."""
    forbids = catalog.declare("protocols", protocol.name).skip
    for backbone_spec in grid.backbones:
        backbone = backbones[backbone_spec.key]
        for dataset_spec in grid.datasets:
            dataset = datasets[dataset_spec.key]
            for shots in grid.shots:
                task = task_info(protocol, dataset.info, shots)
                obstacle = _unfit(task, backbone) or (forbids(task) if forbids is not None else None)
                yield backbone, dataset, shots, task, obstacle


def _unfit(task: TaskInfo, backbone: BackboneChoice) -> str | None:
    """Say why no method may use a backbone for a task, if so."""
    if backbone.info.modality != task.dataset.modality:
        return f"{backbone.info.modality} backbones cannot read {task.dataset.modality} data"
    corpus = _over_budget(task, backbone)
    if corpus is not None:
        whose = f"the target of {task.dataset.name}" if task.dataset.target else task.dataset.name
        return f"pre-training on {corpus.name} read training labels of {whose}, more than {task.shots} shots"
    return None


def _over_budget(task: TaskInfo, backbone: BackboneChoice) -> DatasetInfo | None:
    """Return what pre-training has read more labels of the target from than the task allows; None if nothing."""
    if task.protocol == "episodic" or task.shots == "full":
        return None
    labelled = (run.dataset.info for run in backbone.runs if run.labels)
    return next((corpus for corpus in labelled if labels_shared(corpus, task.dataset)), None)


def _cells(setting: _Setting, seeds: Iterable[int], execution: Execution) -> Iterator[tuple[str, Cell]]:
    for seed in seeds:
        name = cell_id(*setting, seed, execution=execution)
        yield name, Cell(name, *setting, seed, execution)


def _together(cells: Iterable[Cell]) -> list[Cell]:
    """Sort by weights, then dataset, each in order of first appearance; else keep the suite's order."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault(cell.backbone.key, {}).setdefault(cell.dataset.info.fingerprint, []).append(cell)
    return [cell for by_dataset in groups.values() for group in by_dataset.values() for cell in group]


def _few(names: Iterable[str], shown: int = 3) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:shown]) + (f" and {len(unique) - shown} more" if len(unique) > shown else "")
