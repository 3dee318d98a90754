"""The tables as csv (full precision, fractions of 1) and markdown (percent, as on the page)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from tlbench.report import text
from tlbench.report.choices import Choices
from tlbench.report.tables import Board, Cost, Difference, LeaderRow, SettingRow
from tlbench.stats.intervals import Estimate

Value = str | int | float | bool | None


def leaderboard_csv(boards: Iterable[Board]) -> str:
    """Return one line a row of any board."""
    rows = [_leader(board, row) for board in boards for row in board.rows]
    return _csv(rows, ["rank", "protocol", "datasets", "method", "backbone"])


def settings_csv(rows: Iterable[SettingRow]) -> str:
    """Return one line a setting."""
    return _csv([_setting(row) for row in rows], ["protocol", "dataset", "shots", "method", "backbone"])


def choices_csv(found: Choices) -> str:
    """Return one line a setting and what chose the model; upper bounds come last."""
    rows: list[Mapping[str, Value]] = [
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
    ]
    return _csv(rows, ["protocol", "dataset", "shots", "method", "backbone"])


def _csv(rows: Sequence[Mapping[str, Value]], columns: Iterable[str]) -> str:
    frame = pd.DataFrame(rows, columns=list(rows[0] if rows else columns))
    return frame.to_csv(index=False, lineterminator="\n")


def _leader(board: Board, row: LeaderRow) -> dict[str, Value]:
    return {
        "rank": "" if row.rank is None else str(row.rank),
        "protocol": board.protocol,
        "datasets": " ".join(board.datasets),
        "method": row.method,
        "backbone": row.backbone,
        "is_baseline": row.is_baseline,
        "upper_bound": row.is_bound,
        **_estimate("accuracy", row.accuracy),
        "seeds": row.seeds,
        **_difference(row.difference),
        "cells": row.have,
        "cells_expected": row.expected,
        "remark": row.remark,
        **_cost(row.cost),
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


def leaderboard_md(boards: Iterable[Board]) -> str:
    """Return one markdown table a board."""
    head = ("#", "method", "backbone", "mean %", "95% interval", "to baseline", "95% interval", "p (Holm)", "seeds",
            "cells", "seconds", "trainable", "stored", "remark")  # fmt: skip
    parts = []
    for board in boards:
        body = [
            (
                "" if row.rank is None else str(row.rank),
                row.method,
                row.backbone,
                text.percent(row.accuracy.mean),
                text.percent_interval(row.accuracy),
                *_told(row.difference),
                str(row.seeds),
                f"{row.have}/{row.expected}",
                text.seconds(row.cost.seconds),
                text.count(row.cost.trainable),
                text.size(row.cost.stored_bytes),
                "; ".join(filter(None, (row.remark, row.difference.remark))),
            )
            for row in board.rows
        ]
        title = f"{board.protocol}: {', '.join(board.datasets)}"
        told = f"{text.TRANSDUCTIVE}\n\n" if board.transductive else ""
        parts.append(f"### {_escaped(title)}\n\n{told}{_markdown(head, body, left=(1, 2, 13))}")
    return "\n".join(parts) or "No results.\n"


def settings_md(rows: Iterable[SettingRow]) -> str:
    """Return all settings as one markdown table."""
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
    return _markdown(head, body, left=(0, 1, 3, 4, 15)) if body else "No results.\n"


def choices_md(found: Choices) -> str:
    """Return the tables of the adaptation section: by validator, upper bounds, and how far each validator falls."""
    if not found.rows and not found.bounds:
        return "No results.\n"
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
        parts += [f"### {title}\n\n{_markdown(head, body, left=(0, 2, 3, 4))}"] if body else []
    body = [
        (
            fall.validator + (", ranked" if fall.ranking else ""),
            text.points(-fall.mean),
            text.points(-fall.most),
            str(fall.settings),
        )
        for fall in found.falls
    ]
    if body:
        head = ("validator", "to oracle", "at worst", "settings")
        parts.append(
            f"### How far each validator falls from the oracle\n\n{text.FALLS}\n\n{_markdown(head, body, (0,))}"
        )
    return "\n".join(parts)


def _told(difference: Difference) -> tuple[str, str, str]:
    if difference.contrast is None:
        return text.NONE, text.NONE, text.NONE
    estimate = difference.contrast.estimate
    return text.points(estimate.mean), text.points_interval(estimate), text.p_value(difference.p_holm)


def _markdown(head: Sequence[str], body: Iterable[Sequence[str]], left: Sequence[int]) -> str:
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    lines = [head, rule, *([_escaped(cell) for cell in row] for row in body)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _escaped(cell: str) -> str:
    """Leave nothing in a name that markdown would take for markup or for the end of a cell."""
    escaped = html.escape(" ".join(cell.split()), quote=False)
    for mark in "\\`*_[]|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
