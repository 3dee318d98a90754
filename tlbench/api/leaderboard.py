"""``tlbench.leaderboard``: what the results of suites show, one row a method on a backbone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tlbench.api.columns import LEADERBOARD_COLUMNS, typed
from tlbench.api.open_suite import open_workspace, suite_names

if TYPE_CHECKING:
    import pandas as pd

    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.report.rows.leaderboard import Board, LeaderRow


def leaderboard(
    suites: AnySuite | Sequence[AnySuite], *, workspace: AnyPath | None = None, tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return the leaderboard of a suite, or of several joined, from MLflow alone, best rows first within each board.

    The columns are those of :data:`tlbench.api.columns.LEADERBOARD_COLUMNS`. Rows that lack cells or have fewer than
    three seeds have no rank and say why under ``remark``.

    Args:
        suites: A suite file, its name, a dictionary, or a :class:`tlbench.Suite`; or a list of such.
        workspace: Where results are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the working directory.
        tracking_uri: MLflow's store or server; None is ``$MLFLOW_TRACKING_URI``, else SQLite in the workspace.

    Raises:
        UserError: A suite is wrong, or MLflow cannot be read or has no such suite.
    """
    from tlbench.report.report_data import read_report
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    names = suite_names(suites)
    return leaderboard_frame(read_report(names, prepare_tracking(tracking_uri, open_workspace(workspace).root)).boards)


def leaderboard_frame(boards: Iterable[Board]) -> pd.DataFrame:
    """Return boards as one table, numbered from 1."""
    import pandas as pd

    rows = [_row(number, board, row) for number, board in enumerate(boards, start=1) for row in board.rows]
    return typed(pd.DataFrame(rows, columns=[column.name for column in LEADERBOARD_COLUMNS]), LEADERBOARD_COLUMNS)


def _row(number: int, board: Board, row: LeaderRow) -> dict[str, Any]:
    best, worst = row.ranks or (None, None)
    from tlbench.report.metric_text import natural_scores

    score, low, high = natural_scores(row.accuracy, board.metric)
    difference = None if row.difference.contrast is None else row.difference.contrast.estimate
    return {
        "board": number,
        "protocol": board.protocol,
        "datasets": ", ".join(board.datasets),
        "shots": ", ".join(board.shots),
        "rank": row.rank,
        "rank_low": best,
        "rank_high": worst,
        "method": row.method,
        "backbone": row.backbone,
        "method_label": row.method_label,
        "backbone_label": row.backbone_label,
        "metric": board.metric,
        "score": score,
        "score_low": low,
        "score_high": high,
        "is_baseline": row.is_baseline,
        "difference": None if difference is None else difference.mean,
        "difference_low": None if difference is None else difference.low,
        "difference_high": None if difference is None else difference.high,
        "p_holm": row.difference.p_holm,
        "seeds": row.seeds,
        "cells": row.have,
        "cells_expected": row.expected,
        "device_seconds": row.cost.device_seconds,
        "device": row.cost.device,
        "seconds": row.cost.seconds,
        "shared_seconds": row.cost.shared_seconds,
        "trainable": row.cost.trainable,
        "stored_bytes": row.cost.stored_bytes,
        "peak_memory": row.cost.peak_memory,
        "is_bound": row.is_bound,
        "remark": "; ".join(filter(None, (row.remark, "" if row.is_baseline else row.difference.remark))),
    }
