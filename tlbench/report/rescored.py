"""Results as they would be under another metric, from the test answers that were kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tlbench.core.hashing import canonical
from tlbench.plugins.metrics import METRIC
from tlbench.report.results import Results


@dataclass(frozen=True)
class CellScore:
    """What a metric says of one cell's test.

    Attributes:
        value: The metric.
        packed_scores: The score of each test prediction, packed as a record holds it.
    """

    value: float
    packed_scores: str


def rescored(results: Results, metric: str, found: Mapping[str, CellScore]) -> Results:
    """Return the results of those cells that have a score, which the metric takes the place of any other in.

    The plan is left out, since nothing was planned under this metric.

    Args:
        results: Of a suite.
        metric: Its name.
        found: What it says, by cell.
    """
    done = results.done[results.done["cell"].isin(list(found))].copy()
    done["options"] = [canonical(json.loads(text) | {METRIC: metric}) for text in done["options"]]
    done[f"test/{metric}"] = [found[cell].value if cell in found else math.nan for cell in done["cell"]]
    details = {
        cell: replace(results.details[cell], packed_scores=score.packed_scores)
        for cell, score in found.items()
        if cell in results.details
    }
    return replace(results, done=done, details=details, planned=None, planned_settings=None)
