"""The leaderboard as a table: one row a row of any board, and one part a board."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlbench.report import number_format as text
from tlbench.report.leading_rows import RowKey
from tlbench.report.notes import TRANSDUCTIVE
from tlbench.report.rows.leaderboard import Board, LeaderRow
from tlbench.report.search_cost import NO_SEARCH, SearchCost
from tlbench.report.table import Table, TablePart, Value
from tlbench.report.table_columns import (
    cost_columns,
    difference_columns,
    difference_texts,
    score_columns,
    shared_text,
)


def leaderboard_table(
    boards: Iterable[Board], trainings: Mapping[RowKey, int], searches: Mapping[RowKey, SearchCost]
) -> Table:
    """Return one row a row of any board, and one part a board.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        trainings: Trainings that a search spent on a row.
        searches: What they took.
    """
    boards = tuple(boards)
    return Table(
        name="leaderboard",
        records=[_record(board, row, trainings, searches) for board in boards for row in board.rows],
        columns=("rank", "protocol", "datasets", "shots", "method", "backbone"),
        parts=[_part(board, trainings, searches) for board in boards],
        is_always_written=True,
    )


def _part(board: Board, trainings: Mapping[RowKey, int], searches: Mapping[RowKey, SearchCost]) -> TablePart:
    scores = board.told.heading + " %" * board.told.in_percent
    head = ("rank", "method", "backbone", scores, "95% interval", "to baseline", "95% interval", "p (Holm)",
            "win/tie/loss", "seeds", "cells", "a cell", "wall", "shared", "search", "trainable", "stored",
            "peak memory", "trials", "remark")  # fmt: skip
    body = [
        (
            text.ranks(row.rank, row.ranks),
            row.method,
            row.backbone,
            board.told.score(row.accuracy.mean),
            board.told.interval(row.accuracy),
            *difference_texts(row.difference),
            text.win_tie_loss(row.wins),
            str(row.seeds),
            f"{row.have}/{row.expected}",
            text.device_seconds(row.cost.device_seconds, row.cost.device),
            text.seconds(row.cost.seconds),
            shared_text(row.cost),
            text.device_seconds(*searches.get((board.protocol, row.method, row.backbone), NO_SEARCH)),
            text.share(row.cost.share),
            text.size(row.cost.stored_bytes),
            text.size(row.cost.peak_memory),
            str(trainings.get((board.protocol, row.method, row.backbone), text.NONE)),
            "; ".join(filter(None, (row.remark, row.difference.remark, *map(str, row.mixtures)))),
        )
        for row in board.rows
    ]
    return TablePart(board.title, head, body, (1, 2, 13, 19), TRANSDUCTIVE if board.transductive else "")


def _record(
    board: Board, row: LeaderRow, trainings: Mapping[RowKey, int], searches: Mapping[RowKey, SearchCost]
) -> dict[str, Value]:
    search = searches.get((board.protocol, row.method, row.backbone), NO_SEARCH)
    best, worst = row.ranks or (None, None)
    new = row.across.estimate if row.across else None
    return {
        "rank": "" if row.rank is None else str(row.rank),
        "rank_best": best,
        "rank_worst": worst,
        "protocol": board.protocol,
        "datasets": " ".join(board.datasets),
        "shots": " ".join(board.shots),
        "method": row.method,
        "backbone": row.backbone,
        "method_label": row.method_label,
        "backbone_label": row.backbone_label,
        "is_baseline": row.is_baseline,
        "upper_bound": row.is_bound,
        "metric": board.metric,
        **score_columns(row.accuracy, board.metric),
        "seeds": row.seeds,
        **difference_columns(row.difference),
        "new_datasets_low": new.low if new else None,
        "new_datasets_high": new.high if new else None,
        "wins": row.wins.win if row.wins else None,
        "ties": row.wins.tie if row.wins else None,
        "losses": row.wins.loss if row.wins else None,
        "cells": row.have,
        "cells_expected": row.expected,
        "remark": row.remark,
        **cost_columns(row.cost),
        "trainable_share": row.cost.share,
        "search_seconds": search.seconds,
        "search_device": search.device,
        "trials": trainings.get((board.protocol, row.method, row.backbone)),
    }
