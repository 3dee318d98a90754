"""Expands the grids of a suite into its plan: every combination is a setting with a cell a seed, or not applicable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tlbench.core.cell import (
    BackboneChoice,
    Cell,
    DatasetChoice,
    MethodChoice,
    Setting,
    cell_id,
    no_backbone,
    task_info,
)
from tlbench.plugins.staleness import InstalledCode
from tlbench.suite.applicability import Candidate, backbone_obstacle
from tlbench.suite.catalog import Catalog
from tlbench.suite.plan import NotApplicableSetting, Plan
from tlbench.suite.resolve import choose_listed, choose_protocol, choose_run
from tlbench.suite.spec import BackboneSpec, Grid, Suite


def expand(
    suite: Suite, catalog: Catalog, datasets: Mapping[str, DatasetChoice], backbones: Mapping[str, BackboneChoice]
) -> Plan:
    """Return the plan of a suite. What two grids list alike is planned once.

    Args:
        suite: The suite.
        catalog: Declares its methods and protocols.
        datasets: The opened datasets by ``DatasetSpec.key`` (see ``Suite.datasets``).
        backbones: The resolved backbones by ``BackboneSpec.key`` (see ``Suite.backbones``).
    """
    execution = suite.resources.execution
    cells: dict[str, Cell] = {}
    left_out: dict[str, NotApplicableSetting] = {}
    for grid in suite.grids:
        choices = [_runs(spec, suite, grid, backbones) for spec in grid.backbones]
        candidates = _candidates(grid, backbones, catalog)
        for runs, obstacle in _settings(grid, catalog, datasets, choices, candidates):
            if obstacle is None:
                for seed in grid.seeds:
                    setting = runs[seed % len(runs)]
                    name = cell_id(setting, seed, execution=execution)
                    cells[name] = Cell(name, *setting, seed, execution)
            else:
                left_out.setdefault(runs[0].key, _not_applicable(runs[0], obstacle, len(grid.seeds)))
    code = InstalledCode(catalog.declare, lambda: catalog.methods)
    return Plan(_by_weights_and_data(cells.values()), list(left_out.values()), code)


def _runs(
    spec: BackboneSpec, suite: Suite, grid: Grid, backbones: Mapping[str, BackboneChoice]
) -> list[BackboneChoice]:
    """Return a backbone with each of the pre-training runs that its cells rest on in turn, by their seeds."""
    runs = [backbones[run.key] for run in suite.runs_of(spec, grid)]
    return runs if len(runs) == 1 else [choose_run(run, backbones[spec.key]) for run in runs]


def _settings(
    grid: Grid,
    catalog: Catalog,
    datasets: Mapping[str, DatasetChoice],
    backbones: Iterable[Sequence[BackboneChoice]],
    candidates: Sequence[Candidate],
) -> Iterator[tuple[list[Setting], str | None]]:
    """Yield every setting of a grid, once for each run of its backbone, and why it is not applicable, if so.

    Methods that read no backbone come once, after all others.
    """
    protocol = choose_protocol(grid, catalog)
    bare = [candidate for candidate in candidates if not candidate.declared.constants.BACKBONE]
    backed = [candidate for candidate in candidates if candidate.declared.constants.BACKBONE]
    forbids = catalog.declare("protocols", protocol.name).skip
    for backbone, *others in backbones:
        for dataset in (datasets[spec.key] for spec in grid.datasets):
            for shots in grid.shots:
                task = task_info(protocol, dataset.info, shots)
                obstacle = backbone_obstacle(task, backbone) or (forbids(task) if forbids is not None else None)
                for candidate in backed:
                    runs = [Setting(protocol, candidate.choice, run, dataset, shots) for run in (backbone, *others)]
                    yield runs, obstacle or candidate.obstacle(task, backbone)
    for dataset in (datasets[spec.key] for spec in grid.datasets):
        absent = no_backbone(dataset.info.modality)
        for shots in grid.shots:
            task = task_info(protocol, dataset.info, shots)
            obstacle = forbids(task) if forbids is not None else None
            for candidate in bare:
                setting = Setting(protocol, candidate.choice, absent, dataset, shots)
                yield [setting], obstacle or candidate.obstacle(task, absent)


def _candidates(grid: Grid, backbones: Mapping[str, BackboneChoice], catalog: Catalog) -> list[Candidate]:
    """Return the methods of a grid, each once."""
    choices: dict[str, MethodChoice] = {}
    for spec in grid.methods:
        choice = choose_listed(spec, backbones, catalog)
        choices.setdefault(choice.key, choice)
    return [Candidate.of(choice, catalog) for choice in choices.values()]


def _not_applicable(setting: Setting, reason: str, count: int) -> NotApplicableSetting:
    return NotApplicableSetting(
        setting.protocol.name,
        setting.method.label,
        setting.backbone.info.label,
        setting.dataset.info.name,
        setting.shots,
        reason,
        count,
    )


def _by_weights_and_data(cells: Iterable[Cell]) -> list[Cell]:
    """Sort by weights, then dataset, each in order of first appearance; else keep the suite's order."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault(cell.backbone.key, {}).setdefault(cell.dataset.info.fingerprint, []).append(cell)
    return [cell for by_dataset in groups.values() for group in by_dataset.values() for cell in group]
