"""Which cells were planned for each row of a report, under the labels that its finished cells have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from tlbench.core.planned_setting import PlannedSetting
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.labels import TRANSDUCTIVE, labels_of

Row = tuple[str, str, str]
"""Labels of a protocol, a method and a backbone."""
PlannedCell = tuple[str, str, int]
"""Label of a dataset, shots and seed."""


def planned_cells(
    planned: Sequence[PlannedSetting], done: pd.DataFrame, cells: Iterable[ComparableCell]
) -> dict[Row, frozenset[PlannedCell]]:
    """Return the cells that were planned for each row, finished or not.

    Whether a method is transductive is known once a cell of it is finished: a planned cell stands under the label that
    the finished cells of its setting have, else those of its row, else those of its method. Where these have both
    labels, and where nothing of the method is finished, it stands under the plain one.

    Args:
        planned: :attr:`tlbench.report.results.Results.planned_settings`.
        done: :attr:`tlbench.report.results.Results.done`.
        cells: Of :func:`tlbench.report.comparable_cells.comparable_cells`, which was given the same plan.
    """
    labels = labels_of(done, planned)
    known = _transductive(cells)
    found: dict[Row, set[PlannedCell]] = {}
    for each in planned:
        protocol = labels.protocols[each.protocol, each.options]
        dataset = labels.datasets[each.dataset, each.fingerprint]
        method, backbone = labels.methods[each.method], labels.backbones[each.backbone]
        place = (protocol, method, backbone, dataset, each.shots)
        kinds = next((known[place[:length]] for length in (5, 3, 2) if place[:length] in known), {False})
        row = (protocol if False in kinds else protocol + TRANSDUCTIVE, method, backbone)
        found.setdefault(row, set()).update((dataset, each.shots, seed) for seed in each.seeds)
    return {row: frozenset(own) for row, own in found.items()}


def planned_and_finished(planned: Sequence[PlannedSetting], done: pd.DataFrame) -> int:
    """Return the number of planned cells that are finished; results of what nobody plans any more do not count.

    Args:
        planned: :attr:`tlbench.report.results.Results.planned_settings`.
        done: :attr:`tlbench.report.results.Results.done`.
    """
    names = ("protocol", "options", "method_label", "backbone_label", "dataset", "dataset_fingerprint", "shots", "seed")
    have = set(zip(*(done[name].tolist() for name in names), strict=True))
    asked = {
        (each.protocol, each.options, each.method, each.backbone, each.dataset, each.fingerprint, each.shots, seed)
        for each in planned
        for seed in each.seeds
    }
    return len(have & asked)


def _transductive(cells: Iterable[ComparableCell]) -> dict[tuple[str, ...], set[bool]]:
    """Return whether finished cells are transductive, by their setting, by their row, and by their method."""
    known: dict[tuple[str, ...], set[bool]] = {}
    for cell in cells:
        protocol = cell.protocol.removesuffix(TRANSDUCTIVE) if cell.transductive else cell.protocol
        place = (protocol, cell.method, cell.backbone, cell.dataset, cell.shots)
        for length in (5, 3, 2):
            known.setdefault(place[:length], set()).add(cell.transductive)
    return known
