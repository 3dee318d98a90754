"""What a search found, setting by setting: the winner beside the default configuration, and what it scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from tlbench.core.segments import WHOLE, Segments, extend_to_end
from tlbench.report.comparable_cells import by_shots
from tlbench.report.rows.settings import SettingRow
from tlbench.report.trials import of_default, segments_from_text, setting


@dataclass(frozen=True)
class Changed:
    """A parameter in which the winner differs from the default configuration.

    Attributes:
        before: Its default; empty where it hangs on another parameter, and does not count.
        after: The values chosen, in the order in which they held; empty likewise.
    """

    name: str
    before: tuple[Any, ...]
    after: tuple[Any, ...]


@dataclass(frozen=True)
class Searched:
    """A setting whose parameters were searched. Scores are as they were stored, None where there is none.

    Attributes:
        trials: Number of trainings they came to; ``stopped`` of them ended early, ``failed`` failed.
        cost: Device-seconds.
        default: Values of the default configuration, which is the first trial.
        chosen: Values of the winner; None where no trial was trained to its end.
        segments: How its training came to them (:mod:`tlbench.core.segments`); empty where they held throughout.
        by: Name of the validation score that decided.
        start: Validation score of the default.
        validation: Validation score of the winner.
        test: Mean test accuracy of the setting's cells, a fraction of 1.
    """

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    trials: int
    stopped: int
    failed: int
    cost: float
    default: Mapping[str, Any]
    chosen: Mapping[str, Any] | None
    by: str
    start: float | None
    validation: float | None
    test: float | None
    segments: Segments = ()

    @property
    def changed(self) -> tuple[Changed, ...]:
        """Parameters in which the winner differs from the default, by name."""
        if self.chosen is None:
            return ()
        names = sorted({**self.default, **self.chosen})
        found = [Changed(name, _held(self.default, name), self._held(name)) for name in names]
        return tuple(each for each in found if each.before != each.after)

    @property
    def kept(self) -> dict[str, Any]:
        """Searched parameters of the winner that are as in the default."""
        moved = {each.name for each in self.changed}
        return {name: value for name, value in sorted((self.chosen or {}).items()) if name not in moved}

    def _held(self, name: str) -> tuple[Any, ...]:
        """Return the values of the winner in the order in which they held."""
        values = [held[name] for _, held in self.segments if name in held]
        after = (*values[:1], *(value for last, value in pairwise(values) if value != last))
        return after if len(after) > 1 else _held(self.chosen or {}, name)


def searched(rows: Iterable[SettingRow], trials: pd.DataFrame) -> tuple[Searched, ...]:
    """Return one entry a searched setting, by protocol, dataset, shots, backbone and method.

    The winner is the trial from which the setting's cells took their values; before there are any, the best one that
    was trained to its end.

    Args:
        rows: From :func:`tlbench.report.rows.settings.settings`.
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    tests = {setting(row.protocol, row.method, row.backbone, row.dataset, row.shots): row.accuracy.mean for row in rows}
    methods = {method: place for place, method in enumerate(trials["method"].unique())}
    found = [
        _searched(group, tests.get(str(name))) for (name, _), group in trials.groupby(["setting", "by"], sort=False)
    ]
    return tuple(sorted(found, key=lambda each: (*_place(each), methods[each.method])))


def _place(of: Searched) -> tuple[str, str, float, str]:
    return of.protocol, of.dataset, by_shots(of.shots), of.backbone


def _searched(trials: pd.DataFrame, test: float | None) -> Searched:
    first = trials.iloc[0]
    ended = trials[trials["status"] == "done"]
    starts = trials[trials["trial"] == 1]
    won = trials[trials["winner"].astype(bool)]
    winner = won if len(won) else _farthest(ended).dropna(subset=["value"]).nlargest(1, "value")
    return Searched(
        protocol=str(first["protocol"]),
        method=str(first["method"]),
        backbone=str(first["backbone"]),
        dataset=str(first["dataset"]),
        shots=str(first["shots"]),
        trials=round(trials["share"].sum()),
        stopped=int((trials["status"] == "stopped").sum()),
        failed=int((trials["status"] == "failed").sum()),
        cost=float(trials["cost"].max()),
        default=_values(starts["params"].iloc[0]) if len(starts) else {},
        chosen=_values(winner["params"].iloc[0]) if len(winner) else None,
        by=str(first["by"]),
        start=_score(trials[of_default(trials) & trials["status"].eq("done")]),
        validation=_score(winner),
        test=test,
        segments=extend_to_end(segments_from_text(winner["segments"].iloc[0])) if len(winner) else (),
    )


def _farthest(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the last generation, all where there are none."""
    ends = trials["segments"].map(lambda told: segments_from_text(told)[-1][0] if segments_from_text(told) else WHOLE)
    return trials[ends.eq(ends.max())]


def _held(values: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    return (values[name],) if name in values else ()


def _score(trials: pd.DataFrame) -> float | None:
    known = trials["value"].dropna()
    return float(known.iloc[0]) if len(known) else None


def _values(told: str) -> dict[str, Any]:
    """Return the values of a configuration; nothing of one that was too long for the store, and was cut."""
    try:
        return dict(json.loads(told))
    except ValueError:
        return {}
