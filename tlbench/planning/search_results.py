"""What the searches of a suite have found so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlbench.core.segments import Segments
from tlbench.planning.search_plan import Searches, read_studies
from tlbench.search.objective import value_of
from tlbench.search.study import Study
from tlbench.store.ledger import Ledger


@dataclass(frozen=True)
class SearchResult:
    """What the search of a setting and seed has found so far.

    Attributes:
        label: Of setting and seed.
        trials: Number of trials that ended, failed ones too, in trainings: a segment counts as its share of one.
        failed: Number of those that failed.
        seconds: Device-seconds of all of them.
        default_score: Validation score of the default configuration; None where it has none.
        best_score: Validation score of the best trial; None where there is none.
        chosen_trial: Number of the trial whose values the cell gets; 0 where there is none.
        values: Its values; where they changed during the training, those of the end.
        segments: How they changed; empty where they did not.
        keeps_default: Whether that is the default though another is better, by less than a standard error.
        trainings: Number of trainings that the trials took: one for each fold.
        note: Why there was nothing to search, if so.
    """

    label: str
    trials: float
    failed: int
    seconds: float
    default_score: float | None
    best_score: float | None
    chosen_trial: int
    values: dict[str, Any]
    segments: Segments = ()
    keeps_default: bool = False
    trainings: float = 0.0
    note: str = ""


def search_results(searches: Searches, ledger: Ledger) -> list[SearchResult]:
    """Return the result of every search, in the order of the suite."""
    return [_result(study) for study in read_studies(searches, ledger).values()]


def _result(study: Study) -> SearchResult:
    best, default, trial = study.best, study.default, study.winning_trial
    return SearchResult(
        label=study.problem.label,
        trials=len(study.records) / study.problem.trials_per_training,
        failed=sum(record.status == "failed" for record in study.records.values()),
        seconds=study.spent,
        default_score=None if default is None else value_of(default),
        best_score=None if best is None else value_of(best),
        chosen_trial=0 if trial is None else trial.number,
        values={} if trial is None else trial.values,
        segments=() if trial is None else trial.segments,
        keeps_default=study.keeps_default,
        trainings=len(study.records) / study.problem.trials_per_training * study.problem.folds,
        note="no validation within the label budget" if study.blind else "",
    )
