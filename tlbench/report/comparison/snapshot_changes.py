"""Compares two snapshots: which settings changed, by how much, and which only one of them has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import by_shots, comparable_cells
from tlbench.report.comparison.snapshots import Snapshot
from tlbench.stats.contrasts import Contrast, holm, paired_contrast

Setting = tuple[str, str, str, str, str]
"""Protocol, dataset, shots, method and backbone, by their labels."""

_SHOWN = 20


@dataclass(frozen=True)
class Change:
    """A setting whose results differ; scores are fractions of 1.

    Attributes:
        first: Mean accuracy in the first snapshot, over the seeds that both have where they are known.
        second: The same in the second.
        contrast: Second minus first, paired by seed; None where they have no common seed.
        p_holm: Corrected for all settings that both snapshots have.
    """

    setting: Setting
    first: float
    second: float
    contrast: Contrast | None
    p_holm: float | None

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class Changes:
    """What differs between two snapshots.

    Attributes:
        compared: Settings that both have.
        changed: Those whose results differ, the largest difference first.
        only_first: Settings that the second lacks.
        only_second: Settings that the first lacks.
        notes: What a reader must know.
    """

    first: str
    second: str
    compared: int
    changed: tuple[Change, ...]
    only_first: tuple[Setting, ...]
    only_second: tuple[Setting, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        body = asdict(self)
        body["changed"] = [
            {**change, "difference": each.difference}
            for change, each in zip(body["changed"], self.changed, strict=True)
        ]
        return body


@dataclass(frozen=True)
class _SettingScores:
    """A setting in one snapshot; ``seeds`` is empty where the other snapshot has none of them."""

    mean: float
    seeds: dict[int, float]


def snapshot_changes(first: Snapshot, second: Snapshot) -> Changes:
    """Compare two snapshots setting by setting, under labels in full, which mean the same in both.

    Args:
        first: The earlier one, or the one to measure from.
        second: The other one.
    """
    sides = [_scores(snapshot) for snapshot in (first, second)]
    shared = [setting for setting in sides[0] if setting in sides[1]]
    pairs = [_on_common_seeds(sides[0][setting], sides[1][setting]) for setting in shared]
    contrasts = [_contrast(setting, *both) for setting, both in zip(shared, pairs, strict=True)]
    adjusted = holm([contrast.p if contrast else None for contrast in contrasts])
    found = [
        Change(setting, before.mean, after.mean, contrast, p)
        for setting, (before, after), contrast, p in zip(shared, pairs, contrasts, adjusted, strict=True)
        if _differ(before, after)
    ]
    return Changes(
        first=first.tag,
        second=second.tag,
        compared=len(shared),
        changed=tuple(sorted(found, key=lambda change: -abs(change.difference))),
        only_first=tuple(sorted((each for each in sides[0] if each not in sides[1]), key=_order)),
        only_second=tuple(sorted((each for each in sides[1] if each not in sides[0]), key=_order)),
        notes=tuple(_notes(first, second)),
    )


def _scores(snapshot: Snapshot) -> dict[Setting, _SettingScores]:
    seeds: dict[Setting, dict[int, float]] = {}
    for cell in comparable_cells(snapshot.records)[0]:
        setting = (cell.protocol, cell.dataset_label, cell.shots, cell.method_label, cell.backbone_label)
        seeds.setdefault(setting, {})[cell.seed] = cell.accuracy
    return {setting: _SettingScores(fmean(own.values()), own) for setting, own in seeds.items()}


def _on_common_seeds(first: _SettingScores, second: _SettingScores) -> tuple[_SettingScores, _SettingScores]:
    """Return a setting on the seeds that both snapshots have, or as it is where there are none."""
    common = [seed for seed in first.seeds if seed in second.seeds]
    if not common:
        return _SettingScores(first.mean, {}), _SettingScores(second.mean, {})
    before, after = ({seed: side.seeds[seed] for seed in common} for side in (first, second))
    return _SettingScores(fmean(before.values()), before), _SettingScores(fmean(after.values()), after)


def _contrast(setting: Setting, first: _SettingScores, second: _SettingScores) -> Contrast | None:
    stratum = setting[1:3]
    return paired_contrast({stratum: second.seeds}, {stratum: first.seeds})


def _differ(first: _SettingScores, second: _SettingScores) -> bool:
    return first.seeds != second.seeds or first.mean != second.mean


def _order(setting: Setting) -> tuple[str, str, float, str, str]:
    protocol, dataset, shots, method, backbone = setting
    return protocol, dataset, by_shots(shots), method, backbone


def _notes(first: Snapshot, second: Snapshot) -> list[str]:
    marks = [_contents(each) for each in (first.records, second.records)]
    others = sorted(name for name in marks[0] if name in marks[1] and marks[0][name] != marks[1][name])
    return [f"not the same content under one name: {', '.join(others)}"] if others else []


def _contents(records: pd.DataFrame) -> dict[str, frozenset[str]]:
    marks: dict[str, frozenset[str]] = {}
    for name, mark in zip(records["dataset"], records["dataset_fingerprint"], strict=True):
        marks[name] = marks.get(name, frozenset()) | {mark}
    return marks


def changes_text(found: Changes) -> str:
    """Return what changed as lines for a terminal."""
    lines = [
        f"{found.first} against {found.second}: {text.counted(found.compared, 'setting')} in both, "
        f"{len(found.changed)} with other results",
    ]
    lines += [f"  {_line(change)}" for change in found.changed[:_SHOWN]]
    if len(found.changed) > _SHOWN:
        lines.append(f"  ... and {len(found.changed) - _SHOWN} that changed less (--json lists all)")
    for tag, settings in ((found.first, found.only_first), (found.second, found.only_second)):
        if settings:
            lines.append(f"only in {tag}: {text.counted(len(settings), 'setting')}")
            lines += [f"  {_name(setting)}" for setting in settings[:_SHOWN]]
        if len(settings) > _SHOWN:
            lines.append(f"  ... and {len(settings) - _SHOWN} more (--json lists all)")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _line(change: Change) -> str:
    means = f"{text.percent(change.first)}% to {text.percent(change.second)}%, {text.points(change.difference)}"
    if change.contrast is None:
        return f"{_name(change.setting)}: {means}"
    p = "" if change.p_holm is None else f", p {text.p_value(change.p_holm)} (Holm)"
    return f"{_name(change.setting)}: {means} ({text.points_interval(change.contrast.estimate)}{p})"


def _name(setting: Setting) -> str:
    protocol, dataset, shots, method, backbone = setting
    return f"{method} | {backbone} | {dataset} | {text.shots(shots)} | {protocol}"
