"""The settings as a table: one row a protocol, dataset, number of shots, method and backbone."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.report import number_format as text
from tlbench.report.rows.settings import SettingRow
from tlbench.report.table import Table, TablePart, Value
from tlbench.report.table_columns import cost_columns, difference_columns, difference_texts, score_columns


def settings_table(rows: Iterable[SettingRow]) -> Table:
    """Return one row a setting.

    Args:
        rows: From :func:`tlbench.report.rows.settings.settings`.
    """
    rows = tuple(rows)
    head = ("protocol", "dataset", "shots", "method", "backbone", "mean %", "95% interval", "to baseline",
            "95% interval", "p (Holm)", "seeds", "a cell", "wall", "trainable", "stored", "peak memory",
            "remark")  # fmt: skip
    body = [
        (
            row.protocol,
            row.dataset,
            row.shots,
            row.method,
            row.backbone,
            row.told.score(row.accuracy.mean),
            row.told.interval(row.accuracy),
            *difference_texts(row.difference),
            str(row.accuracy.n),
            text.device_seconds(row.cost.device_seconds, row.cost.device),
            text.seconds(row.cost.seconds),
            text.count(row.cost.trainable),
            text.size(row.cost.stored_bytes),
            text.size(row.cost.peak_memory),
            row.difference.remark,
        )
        for row in rows
    ]
    return Table(
        name="settings",
        records=[_record(row) for row in rows],
        columns=("protocol", "dataset", "shots", "method", "backbone"),
        parts=[TablePart("", head, body, (0, 1, 3, 4, 16))] if body else [],
        is_always_written=True,
    )


def _record(row: SettingRow) -> dict[str, Value]:
    return {
        "protocol": row.protocol,
        "dataset": row.dataset,
        "shots": row.shots,
        "method": row.method,
        "backbone": row.backbone,
        "is_baseline": row.is_baseline,
        "upper_bound": row.is_bound,
        "metric": row.metric,
        **score_columns(row.accuracy, row.metric),
        "accuracy_episodes": row.episodes,
        "seeds": row.accuracy.n,
        **difference_columns(row.difference),
        "macro_f1": row.macro_f1,
        "nll": row.nll,
        "ece": row.ece,
        **cost_columns(row.cost),
    }
