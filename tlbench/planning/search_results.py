"""What the searches of a suite have found so far, read from the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlbench.core.segments import Segments
from tlbench.planning.search_plan import Searches, studies
from tlbench.search.objective import value_of
from tlbench.store.ledger import Ledger


@dataclass(frozen=True)
class SearchResult:
    """What the search of a setting has found so far.

    Attributes:
        setting: What people read.
        trials: Number of trials that ended, failed ones too; a third each where a training is three.
        failed: Number of those that failed.
        seconds: Device-seconds of all of them.
        start: Validation score of the default configuration; None where it has none.
        best: Validation score of the winner; None where there is none.
        number: Which trial it is; 0 where there is none.
        values: Its values; where they changed along the way, those of the end.
        segments: How they changed: up to which ninth of the training which values hold; empty where they did not.
        note: Why there was nothing to search, if so.
    """

    setting: str
    trials: float
    failed: int
    seconds: float
    start: float | None
    best: float | None
    number: int
    values: dict[str, Any]
    segments: Segments = ()
    note: str = ""


def search_results(searches: Searches, ledger: Ledger) -> list[SearchResult]:
    """Return what every search has found so far, in the order of the suite."""
    results = []
    for study in studies(searches, ledger).values():
        records = study.records.values()
        best, first, chosen = study.winner, study.default, study.best_trial
        results.append(
            SearchResult(
                setting=study.problem.label,
                trials=len(records) / study.problem.trials_per_training,
                failed=sum(record.status == "failed" for record in records),
                seconds=study.spent,
                start=None if first is None else value_of(first.outcome),
                best=None if best is None else value_of(best.outcome),
                number=0 if chosen is None else chosen.number,
                values={} if chosen is None else chosen.values,
                segments=() if chosen is None else chosen.segments,
                note="no validation within the label budget" if study.blind else "",
            )
        )
    return results
