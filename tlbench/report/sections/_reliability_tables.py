"""How far a result can be leant on: its spread over seeds, its rank when a dataset is left out, runs that stand out."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.report import number_format as text
from tlbench.report.comparable_cells import by_shots
from tlbench.report.rows.leaderboard import Board
from tlbench.report.table import Part, Sheet, Value
from tlbench.stats.orderings import leave_one_dataset_out
from tlbench.stats.seed_spread import outliers, seed_spread

_SPREAD = "Pooled standard deviation over seeds within dataset and shots, in points: what one more seed may change."
_LEFT_OUT = "Rank by mean accuracy with all datasets, and without each in turn."
_OUTLIERS = (
    "Seeds far from the median of their setting, in robust standard deviations of all rows at that dataset and shots. "
    "They count like all others: look at them before believing a mean."
)


def spread_sheet(boards: Iterable[Board]) -> Sheet:
    """Return one row a row of any board with the spread of its seeds.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = [
        {"protocol": board.protocol, "method": row.method, "backbone": row.backbone, "sd": sd, "cells": row.have}
        for board in boards
        for row in board.rows
        if (sd := seed_spread(row.scores)) is not None
    ]
    records.sort(key=lambda each: (str(each["protocol"]), -float(str(each["sd"]))))
    body = [
        (str(each["protocol"]), str(each["method"]), str(each["backbone"]), f"{100 * float(str(each['sd'])):.2f}",
         str(each["cells"]))
        for each in records
    ]  # fmt: skip
    head = ("protocol", "method", "backbone", "SD over seeds", "cells")
    parts = [Part("Spread over seeds", head, body, (0, 1, 2), _SPREAD)] if body else []
    return Sheet("spread", records, ("protocol", "method", "backbone", "sd", "cells"), parts)


def left_out_sheet(boards: Iterable[Board]) -> Sheet:
    """Return one row a complete row: its rank, and its rank without each dataset; boards of two datasets or more.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    parts = []
    for board in boards:
        without = leave_one_dataset_out({(row.method, row.backbone): row.scores for row in board.ranked})
        if not without:
            continue
        body = []
        for row in board.ranked:
            name = (row.method, row.backbone)
            for dataset, ranks in without.items():
                records.append(
                    {"protocol": board.protocol, "method": row.method, "backbone": row.backbone, "rank": row.rank,
                     "left_out": dataset, "rank_without": ranks.get(name)}
                )  # fmt: skip
            body.append((row.method, row.backbone, str(row.rank), *(str(ranks[name]) for ranks in without.values())))
        names = text.short(without)
        head = ("method", "backbone", "rank", *(f"without {names[dataset]}" for dataset in without))
        parts.append(Part(f"{board.title}: ranks without a dataset", head, body, (0, 1), _LEFT_OUT))
    return Sheet("left_out", records, ("protocol", "method", "backbone", "rank", "left_out", "rank_without"), parts)


def outliers_sheet(boards: Iterable[Board]) -> Sheet:
    """Return one row a seed that stands far from its setting's others.

    Args:
        boards: From :func:`tlbench.report.rows.leaderboard.leaderboard`.
    """
    records: list[dict[str, Value]] = []
    for board in boards:
        for dataset in board.datasets:
            for shots in sorted(board.shots, key=by_shots):
                strata = {
                    (row.method, row.backbone): row.scores[dataset, shots]
                    for row in board.rows
                    if (dataset, shots) in row.scores
                }
                records += [
                    {
                        "protocol": board.protocol,
                        "method": each.key[0],
                        "backbone": each.key[1],
                        "dataset": dataset,
                        "shots": shots,
                        "seed": each.seed,
                        "accuracy": each.value,
                        "median": each.median,
                        "distance": each.distance,
                    }
                    for each in outliers(strata)
                ]
    records.sort(key=lambda each: -float(str(each["distance"])))
    keys = ("method", "backbone", "dataset", "shots", "seed")
    body = [
        (*(str(each[key]) for key in keys), text.percent(float(str(each["accuracy"]))),
         text.percent(float(str(each["median"]))), f"{float(str(each['distance'])):.1f}")
        for each in records
    ]  # fmt: skip
    head = (*keys, "accuracy", "median", "distance")
    parts = [Part("Seeds that stand out", head, body, (0, 1, 2), _OUTLIERS)] if body else []
    return Sheet("outliers", records, ("protocol", *keys, "accuracy", "median", "distance"), parts)
