"""``tlbench.rescore``: the leaderboard under another metric, from the test answers that runs keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbench.api.leaderboard import leaderboard_frame
from tlbench.api.open_suite import open_workspace, suite_name
from tlbench.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.report.report_data import Report
    from tlbench.report.rescored import CellScore
    from tlbench.report.results import Results
    from tlbench.store.answers import AnswerFiles


@dataclass(frozen=True)
class Rescored:
    """A suite under another metric.

    Attributes:
        report: What the cells come to whose test answers were kept.
        left_out: Number of finished cells whose were not.
    """

    report: Report
    left_out: int


def rescore(
    suite: AnySuite, metric: str, *, workspace: AnyPath | None = None, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return the leaderboard of a suite under another metric, without running anything again.

    The models stay those that were chosen by the metric of the suite. The columns are those of
    :func:`tlbench.leaderboard`; cells without kept answers, as those of episodes, are left out.

    Args:
        suite: A suite file, its name, a dictionary, or a :class:`tlbench.Suite`.
        metric: Name of the metric, as ``tlbench list metrics`` has it.
        workspace: Where results are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the working directory.
        tracking_uri: MLflow's store or server; None is ``$MLFLOW_TRACKING_URI``, else SQLite in the workspace.

    Raises:
        UserError: The suite is wrong, the metric is unknown, MLflow cannot be read, or no cell has answers.
    """
    return leaderboard_frame(rescored_suite(suite, metric, workspace, tracking_uri).report.boards)


def rescored_suite(
    suite: AnySuite, metric: str, workspace: AnyPath | None = None, tracking_uri: str | None = None
) -> Rescored:
    """Return what :func:`rescore` is a table of; with the same arguments and errors."""
    from tlbench.plugins.metrics import metric_declaration
    from tlbench.report.report_data import build_report
    from tlbench.report.rescored import rescored
    from tlbench.report.results import load
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    metric_declaration(metric)
    place, name = open_workspace(workspace), suite_name(suite)
    results = load(name, prepare_tracking(tracking_uri, place.root))
    found = _scores(results, place.answers, metric)
    if not found:
        raise UserError(
            f"{name}: no cell has test answers that {metric} could be computed from",
            "cells of episodes, and those of earlier versions, keep none; `tlbench run --force` runs cells again",
        )
    return Rescored(build_report(rescored(results, metric, found)), len(results.done) - len(found))


def _scores(results: Results, answers: AnswerFiles, metric: str) -> dict[str, CellScore]:
    """Return what a metric says of each cell whose answers were kept."""
    import torch

    from tlbench.core.record import pack_scores
    from tlbench.report.rescored import CellScore
    from tlbench.training.metric import metric_of

    computed, found = metric_of(metric), {}
    for cell in results.done["cell"]:
        details = results.details.get(cell)
        kept = answers.read(details.logits) if details is not None and details.logits else None
        if kept is not None:
            logits, labels = torch.from_numpy(kept.logits), torch.from_numpy(kept.labels)
            scores = computed.example_scores(logits, labels)
            found[cell] = CellScore(computed.value(logits, labels), pack_scores(scores.astype("<f4").tobytes()))
    return found
