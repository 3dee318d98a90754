"""What a search found, setting by setting: the winner beside the default configuration, and what it scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from tlbench.core.segments import WHOLE, Segment, Segments, extend_to_end
from tlbench.report.comparable_cells import by_shots
from tlbench.report.rows.settings import SettingRow
from tlbench.report.trials import setting_name


@dataclass(frozen=True)
class ChangedParameter:
    """A parameter in which the winner differs from the default configuration.

    Attributes:
        before: Its default; empty where it depends on another parameter, and is not used.
        after: The values of the winner, in the order in which they held; empty likewise.
    """

    name: str
    before: tuple[Any, ...]
    after: tuple[Any, ...]


@dataclass(frozen=True)
class SearchRow:
    """A setting whose parameters were searched. Scores are as they were stored, None where there is none.

    Attributes:
        trials: Number of trainings they came to; ``stopped`` of them ended early, ``failed`` failed.
        cost: Device-seconds.
        default: Values of the default configuration, which is the first trial.
        winner: Values of the winner; None where no trial was trained to its end.
        criterion: Name of the validation score that decided.
        default_score: Validation score of the default.
        winner_score: Validation score of the winner.
        test: Mean test accuracy of the setting's cells, a fraction of 1.
        segments: How the winner's training came to its values (:mod:`tlbench.core.segments`); empty where they held
            throughout.
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
    winner: Mapping[str, Any] | None
    criterion: str
    default_score: float | None
    winner_score: float | None
    test: float | None
    segments: Segments = ()

    @property
    def changes(self) -> tuple[ChangedParameter, ...]:
        """Parameters in which the winner differs from the default, by name."""
        if self.winner is None:
            return ()
        names = sorted({**self.default, **self.winner})
        found = [ChangedParameter(name, _values_of(self.default, name), self._values_of(name)) for name in names]
        return tuple(each for each in found if each.before != each.after)

    @property
    def unchanged(self) -> dict[str, Any]:
        """Searched parameters of the winner that are as in the default."""
        moved = {each.name for each in self.changes}
        return {name: value for name, value in sorted((self.winner or {}).items()) if name not in moved}

    def _values_of(self, name: str) -> tuple[Any, ...]:
        """Return the winner's values of a parameter in the order in which they held."""
        values = [each.values[name] for each in self.segments if name in each.values]
        after = (*values[:1], *(value for last, value in pairwise(values) if value != last))
        return after if len(after) > 1 else _values_of(self.winner or {}, name)


def search_rows(settings: Iterable[SettingRow], trials: pd.DataFrame) -> tuple[SearchRow, ...]:
    """Return one row a searched setting, by protocol, dataset, shots, backbone and method.

    The winner is the trial from which the setting's cells took their values; before there are any, the best one that
    was trained to its end.

    Args:
        settings: From :func:`tlbench.report.rows.settings.settings`.
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    tests = {
        setting_name(row.protocol, row.method, row.backbone, row.dataset, row.shots): row.accuracy.mean
        for row in settings
    }
    methods = {method: place for place, method in enumerate(trials["method"].unique())}
    found = [
        _search_row(group, tests.get(str(name)))
        for (name, _), group in trials.groupby(["setting", "criterion"], sort=False)
    ]
    return tuple(sorted(found, key=lambda each: (*_place(each), methods[each.method])))


def is_default(trials: pd.DataFrame) -> pd.Series:
    """Say of each trial whether it has the default configuration; of a population's members the one that came farthest.

    Args:
        trials: All trials of some settings; see :data:`tlbench.report.trials.COLUMNS`.
    """
    settings = trials["key"] + trials["setting"]
    starts = trials[trials["trial"].eq(1)].set_index(settings[trials["trial"].eq(1)])["params"]
    first = settings.map(starts[~starts.index.duplicated()])
    throughout = trials["segments"].map(lambda text: len(_segments(text)) == 1) & trials["params"].eq(first)
    farthest = trials["trial"].where(throughout).groupby(settings).transform("max")
    return trials["trial"].eq(farthest.fillna(1))


def _place(of: SearchRow) -> tuple[str, str, float, str]:
    return of.protocol, of.dataset, by_shots(of.shots), of.backbone


def _search_row(trials: pd.DataFrame, test: float | None) -> SearchRow:
    first = trials.iloc[0]
    ended = trials[trials["status"] == "done"]
    starts = trials[trials["trial"] == 1]
    won = trials[trials["winner"].astype(bool)]
    winner = won if len(won) else _farthest(ended).dropna(subset=["value"]).nlargest(1, "value")
    return SearchRow(
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
        winner=_values(winner["params"].iloc[0]) if len(winner) else None,
        criterion=str(first["criterion"]),
        default_score=_score(trials[is_default(trials) & trials["status"].eq("done")]),
        winner_score=_score(winner),
        test=test,
        segments=extend_to_end(_segments(winner["segments"].iloc[0])) if len(winner) else (),
    )


def _farthest(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the last generation, all where there are none."""
    ends = trials["segments"].map(lambda text: _segments(text)[-1].until if _segments(text) else WHOLE)
    return trials[ends.eq(ends.max())]


def _values_of(values: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    return (values[name],) if name in values else ()


def _score(trials: pd.DataFrame) -> float | None:
    known = trials["value"].dropna()
    return float(known.iloc[0]) if len(known) else None


def _values(text: str) -> dict[str, Any]:
    """Return the values of a configuration; nothing of one that was too long for the store, and was cut."""
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}


def _segments(text: str) -> Segments:
    """Return the segments of a trial; none where it has none, or where the text was too long for the store and cut."""
    try:
        return tuple(Segment(*each) for each in json.loads(text or "[]"))
    except ValueError:
        return ()
