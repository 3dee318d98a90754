"""What searches found, one a setting and seed: the winner beside the default configuration, and what it scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import pandas as pd

from tlbench.core.segments import WHOLE, Segments, extend_to_end
from tlbench.report.comparable_cells import ComparableCell, by_shots
from tlbench.report.trials import is_default, segments_of, setting_name

_SHARED = 2**31  # seed of the searches that were stored before each seed had one of its own


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
    """A setting whose parameters were searched for one seed. Scores are as they were stored, None where there is none.

    Attributes:
        seed: Of the cell that was tuned.
        trials: Number of trainings they came to; ``stopped`` of them ended early, ``failed`` failed.
        cost: Device-seconds.
        default: Values of the default configuration, which is the first trial.
        winner: Values of the winner; None where no trial was trained to its end.
        criterion: Name of the validation score that decided.
        default_score: Validation score of the default.
        winner_score: Validation score of the winner.
        test: Test accuracy of the tuned cell, a fraction of 1.
        segments: How the winner's training came to its values (:mod:`tlbench.core.segments`); empty where they held
            throughout.
        folds: Number of folds in which a trial was validated, and of its trainings; 1 is on what was held out.
        best_score: The best validation score of a trial that was trained to its end; above that of the winner where the
            default was kept.
    """

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str
    seed: int
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
    folds: int = 1
    best_score: float | None = None

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


def search_rows(cells: Iterable[ComparableCell], trials: pd.DataFrame) -> tuple[SearchRow, ...]:
    """Return one row a searched setting and seed, by protocol, dataset, shots, backbone, method and seed.

    The winner is the trial from which the cell took its values; before there is one, the best trial that was trained to
    its end.

    Args:
        cells: From :func:`tlbench.report.comparable_cells.comparable_cells`.
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    by_setting: dict[str, dict[int, float]] = {}
    for cell in cells:
        name = setting_name(cell.protocol, cell.method, cell.backbone, cell.dataset, cell.shots)
        by_setting.setdefault(name, {})[cell.seed] = cell.accuracy
    methods = {method: place for place, method in enumerate(trials["method"].unique())}
    found = [
        _search_row(group, _test(by_setting.get(str(name), {}), int(float(str(seed)))))
        for (name, seed, _), group in trials.groupby(["setting", "seed", "criterion"], sort=False)
    ]
    return tuple(sorted(found, key=lambda each: (*_place(each), methods[each.method], each.seed)))


def _test(scores: Mapping[int, float], seed: int) -> float | None:
    """Return the test accuracy of a tuned cell; of a search that all seeds shared, their mean."""
    return fmean(scores.values()) if seed >= _SHARED and scores else scores.get(seed)


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
        seed=int(first["seed"]),
        trials=round(trials["share"].sum()),
        stopped=int((trials["status"] == "stopped").sum()),
        failed=int((trials["status"] == "failed").sum()),
        cost=float(trials.groupby("key")["cost"].max().sum()),
        default=_values(starts["params"].iloc[0]) if len(starts) else {},
        winner=_values(winner["params"].iloc[0]) if len(winner) else None,
        criterion=str(first["criterion"]),
        default_score=_score(trials[is_default(trials) & trials["status"].eq("done")]),
        winner_score=_score(winner),
        test=test,
        segments=extend_to_end(segments_of(winner["segments"].iloc[0])) if len(winner) else (),
        folds=int(trials["folds"].max()),
        best_score=_score(_farthest(ended).dropna(subset=["value"]).nlargest(1, "value")),
    )


def _farthest(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the last generation, all where there are none."""
    ends = trials["segments"].map(lambda text: segments_of(text)[-1].until if segments_of(text) else WHOLE)
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
