"""Cells with the default settings, which were run beside tuned ones to tell what a search gained: they are no rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tlbench.core.planned_setting import PlannedSetting
from tlbench.report.trials import is_default

_PLACE = ["protocol", "options", "method_label", "backbone_label", "dataset", "dataset_fingerprint", "shots"]
_TRIAL_PLACE = ["protocol", "method", "backbone", "dataset", "shots"]


def split_untuned(
    done: pd.DataFrame, planned: Sequence[PlannedSetting] | None, trials: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the finished cells of a suite's rows, and the cells that these are held against.

    Where a search kept the default, its cell has the label of the untuned method, as any suite would store it; here it
    is a cell of the tuned row, and is also what that cell is held against. A cell that the suite lists in its own right
    stays a row as well.

    Args:
        done: One row a finished cell, as it was stored (:attr:`tlbench.report.results.Results.done`).
        planned: What the suite asks for.
        trials: See :data:`tlbench.report.trials.COLUMNS`.

    Returns:
        The rows, in their order; and the untuned cells, with the further columns ``of``, the id of the cell that is
        held against it, and ``of_method``, the label of that cell's row.
    """
    searched = {(*_place(each), each.tuned_from): each for each in planned or () if each.tuned_from}
    if not searched:
        return done, done.iloc[:0].assign(of="", of_method="")
    listed = {(*_place(each), each.method, seed) for each in planned or () for seed in each.seeds}
    keys = _search_keys(trials)
    columns = [done[name].tolist() for name in (*_PLACE, "seed", "cell")]
    rows: list[int] = []
    changes: dict[int, dict[str, Any]] = {}  # of the copies, by their place in ``rows``
    held_against: list[tuple[int, tuple[Any, ...], str]] = []
    cells: dict[tuple[Any, ...], str] = {}
    for number, (protocol, options, method, backbone, dataset, content, shots, seed, cell) in enumerate(
        zip(*columns, strict=True)
    ):
        place = (protocol, options, backbone, dataset, content, shots)
        setting = searched.get((*place, method))
        cells.setdefault((*place, method, seed), cell)
        if setting is None or seed not in setting.seeds or (*place, method, seed) in listed:
            rows.append(number)
        if setting is None or seed not in setting.seeds:
            continue
        held_against.append((number, (*place, setting.method, seed), setting.method))
        if seed in setting.kept:
            key = keys.get((protocol, setting.method, backbone, dataset, shots, seed), "")
            changes[len(rows)] = {"method_label": setting.method, "setting": key}
            cells[*place, setting.method, seed] = cell
            rows.append(number)
    kept = done.iloc[rows].reset_index(drop=True)
    for name in ("method_label", "setting"):
        column = kept[name].tolist()
        for number, change in changes.items():
            column[number] = change[name]
        kept[name] = column
    known = [(number, cells[place], method) for number, place, method in held_against if place in cells]
    found = done.iloc[[number for number, _, _ in known]].reset_index(drop=True)
    return kept, found.assign(of=[cell for _, cell, _ in known], of_method=[method for _, _, method in known])


def mark_kept(trials: pd.DataFrame, planned: Sequence[PlannedSetting] | None) -> pd.DataFrame:
    """Return trials of which the default is marked as the winner where its search kept it.

    Args:
        trials: See :data:`tlbench.report.trials.COLUMNS`.
        planned: What the suite asks for.
    """
    kept = {
        (each.protocol, each.method, each.backbone, each.dataset, each.shots, seed)
        for each in planned or ()
        for seed in each.kept
    }
    if trials.empty or not kept:
        return trials
    places = zip(*(trials[name] for name in (*_TRIAL_PLACE, "seed")), strict=True)
    chosen = pd.Series([place in kept for place in places], index=trials.index)
    return trials.assign(winner=trials["winner"].astype(bool) | (chosen & is_default(trials)))


def _place(each: PlannedSetting) -> tuple[str, ...]:
    return each.protocol, each.options, each.backbone, each.dataset, each.fingerprint, each.shots


def _search_keys(trials: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """Return the keys of the searches by protocol, method, backbone, dataset, shots and seed."""
    if trials.empty:
        return {}
    first = trials.drop_duplicates([*_TRIAL_PLACE, "seed"], keep="last")
    places = zip(*(first[name] for name in (*_TRIAL_PLACE, "seed")), strict=True)
    return dict(zip(places, first["key"], strict=True))
