"""The leaderboard, the settings and what validators chose, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlbench.report import number_format as text
from tlbench.report.rows.cost import Cost
from tlbench.report.rows.differences import Difference
from tlbench.report.rows.leaderboard import Board, LeaderRow
from tlbench.report.rows.settings import SettingRow
from tlbench.report.sections._adaptation_choices import Choices
from tlbench.report.table import Part, Sheet, Value
from tlbench.stats.intervals import Estimate


def leaderboard_sheet(boards: Iterable[Board], trials: Mapping[tuple[str, str, str], int]) -> Sheet:
    """Return one row a row of any board, and one table a board.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
        trials: Trials that a search spent on a row, by protocol, method and backbone.
    """
    boards = tuple(boards)
    return Sheet(
        name="leaderboard",
        records=[_leader(board, row, trials) for board in boards for row in board.rows],
        columns=("rank", "protocol", "datasets", "method", "backbone"),
        parts=[_board(board, trials) for board in boards],
    )


def settings_sheet(rows: Iterable[SettingRow]) -> Sheet:
    """Return one row a setting."""
    rows = tuple(rows)
    head = ("protocol", "dataset", "shots", "method", "backbone", "mean %", "95% interval", "to baseline",
            "95% interval", "p (Holm)", "seeds", "seconds", "trainable", "stored", "peak memory", "remark")  # fmt: skip
    body = [
        (
            row.protocol,
            row.dataset,
            row.shots,
            row.method,
            row.backbone,
            text.percent(row.accuracy.mean),
            text.percent_interval(row.accuracy),
            *_told(row.difference),
            str(row.accuracy.n),
            text.seconds(row.cost.seconds),
            text.count(row.cost.trainable),
            text.size(row.cost.stored_bytes),
            text.size(row.cost.peak_memory),
            row.difference.remark,
        )
        for row in rows
    ]
    return Sheet(
        name="settings",
        records=[_setting(row) for row in rows],
        columns=("protocol", "dataset", "shots", "method", "backbone"),
        parts=[Part("", head, body, (0, 1, 3, 4, 15))] if body else [],
    )


def choices_sheet(found: Choices) -> Sheet:
    """Return one row a setting with what chose the model, upper bounds last; and how far each validator falls."""
    head = ("dataset", "shots", "method", "backbone", "ranked by", *found.validators, "oracle", "seeds")
    parts = []
    for title, rows in (("Test accuracy by what chose the model", found.rows), (text.BOUNDS, found.bounds)):
        body = [
            (
                row.dataset,
                row.shots,
                row.method,
                row.backbone,
                row.ranking,
                *(text.percent(row.accuracy.get(name)) for name in found.validators),
                text.percent(row.oracle),
                str(row.seeds),
            )
            for row in rows
        ]
        parts += [Part(title, head, body, (0, 2, 3, 4))] if body else []
    falls = [
        (
            fall.validator + (", ranked" if fall.ranking else ""),
            text.points(-fall.mean),
            text.points(-fall.most),
            str(fall.settings),
        )
        for fall in found.falls
    ]
    if falls:
        head = ("validator", "to oracle", "at worst", "settings")
        parts.append(Part("How far each validator falls from the oracle", head, falls, (0,), text.FALLS))
    return Sheet(
        name="adaptation",
        records=[
            {
                "protocol": row.protocol,
                "dataset": row.dataset,
                "shots": row.shots,
                "method": row.method,
                "backbone": row.backbone,
                "upper_bound": row.is_bound,
                "seeds": row.seeds,
                "ranked_by": row.ranking,
                **{f"by_{name}": row.accuracy.get(name) for name in found.validators},
                "oracle": row.oracle,
            }
            for row in (*found.rows, *found.bounds)
        ],
        columns=("protocol", "dataset", "shots", "method", "backbone"),
        parts=parts,
    )


def _board(board: Board, trials: Mapping[tuple[str, str, str], int]) -> Part:
    head = ("rank", "method", "backbone", "mean %", "95% interval", "to baseline", "95% interval", "p (Holm)",
            "win/tie/loss", "seeds", "cells", "seconds", "trainable", "stored", "peak memory", "trials",
            "remark")  # fmt: skip
    body = [
        (
            text.ranks(row.rank, row.ranks),
            row.method,
            row.backbone,
            text.percent(row.accuracy.mean),
            text.percent_interval(row.accuracy),
            *_told(row.difference),
            text.record(row.wins),
            str(row.seeds),
            f"{row.have}/{row.expected}",
            text.seconds(row.cost.seconds),
            text.share(row.cost.share),
            text.size(row.cost.stored_bytes),
            text.size(row.cost.peak_memory),
            str(trials.get((board.protocol, row.method, row.backbone), text.NONE)),
            "; ".join(filter(None, (row.remark, row.difference.remark))),
        )
        for row in board.rows
    ]
    return Part(board.title, head, body, (1, 2, 16), text.TRANSDUCTIVE if board.transductive else "")


def _leader(board: Board, row: LeaderRow, trials: Mapping[tuple[str, str, str], int]) -> dict[str, Value]:
    low, high = row.ranks or (None, None)
    new = row.across.estimate if row.across else None
    return {
        "rank": "" if row.rank is None else str(row.rank),
        "rank_best": low,
        "rank_worst": high,
        "protocol": board.protocol,
        "datasets": " ".join(board.datasets),
        "method": row.method,
        "backbone": row.backbone,
        "is_baseline": row.is_baseline,
        "upper_bound": row.is_bound,
        **_estimate("accuracy", row.accuracy),
        "seeds": row.seeds,
        **_difference(row.difference),
        "new_datasets_low": new.low if new else None,
        "new_datasets_high": new.high if new else None,
        "wins": row.wins.win if row.wins else None,
        "ties": row.wins.tie if row.wins else None,
        "losses": row.wins.loss if row.wins else None,
        "cells": row.have,
        "cells_expected": row.expected,
        "remark": row.remark,
        **_cost(row.cost),
        "trainable_share": row.cost.share,
        "trials": trials.get((board.protocol, row.method, row.backbone)),
    }


def _setting(row: SettingRow) -> dict[str, Value]:
    return {
        "protocol": row.protocol,
        "dataset": row.dataset,
        "shots": row.shots,
        "method": row.method,
        "backbone": row.backbone,
        "is_baseline": row.is_baseline,
        "upper_bound": row.is_bound,
        **_estimate("accuracy", row.accuracy),
        "accuracy_episodes": row.episodes,
        "seeds": row.accuracy.n,
        **_difference(row.difference),
        "macro_f1": row.macro_f1,
        "nll": row.nll,
        "ece": row.ece,
        **_cost(row.cost),
    }


def _estimate(name: str, estimate: Estimate) -> dict[str, Value]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _difference(difference: Difference) -> dict[str, Value]:
    contrast = difference.contrast
    nothing: dict[str, Value] = {"difference": None, "difference_low": None, "difference_high": None}
    return {
        **(_estimate("difference", contrast.estimate) if contrast else nothing),
        "pairs": contrast.pairs if contrast else 0,
        "p": contrast.p if contrast else None,
        "p_holm": difference.p_holm,
        "difference_remark": difference.remark,
    }


def _cost(cost: Cost) -> dict[str, Value]:
    return {
        "seconds": cost.seconds,
        "trainable": cost.trainable,
        "stored_bytes": cost.stored_bytes,
        "peak_memory": cost.peak_memory,
    }


def _told(difference: Difference) -> tuple[str, str, str]:
    if difference.contrast is None:
        return text.NONE, text.NONE, text.NONE
    estimate = difference.contrast.estimate
    return text.points(estimate.mean), text.points_interval(estimate), text.p_value(difference.p_holm)
