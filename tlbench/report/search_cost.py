"""What searching for a row's settings took: the device-seconds of all trials, failed ones too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from tlbench.report.leading_rows import RowKey
from tlbench.report.rows.settings import SettingRow
from tlbench.report.trials import setting_name


class SearchCost(NamedTuple):
    """What the trials behind a row took together.

    Attributes:
        seconds: Device-seconds; None where some trials held GPUs and others did not.
        device: ``CPU`` or ``GPU``; empty where the seconds are None.
    """

    seconds: float | None
    device: str


NO_SEARCH = SearchCost(None, "")


def search_costs(rows: Iterable[SettingRow], trials: pd.DataFrame) -> dict[RowKey, SearchCost]:
    """Return what the trials of each row's settings took, for rows that were searched.

    Args:
        rows: From :func:`tlbench.report.rows.settings.settings`.
        trials: See :data:`tlbench.report.trials.COLUMNS`.
    """
    spent = trials.groupby("setting")["spent"].sum().to_dict()
    devices = trials.groupby("setting")["device"].agg(set).to_dict()
    found: dict[RowKey, tuple[float, set[str]]] = {}
    for row in rows:
        name = setting_name(row.protocol, row.method, row.backbone, row.dataset, row.shots)
        if name in spent:
            key = (row.protocol, row.method, row.backbone)
            seconds, known = found.get(key, (0.0, set()))
            found[key] = (seconds + float(spent[name]), known | devices[name])
    return {
        key: SearchCost(seconds, min(known)) if len(known) == 1 else NO_SEARCH
        for key, (seconds, known) in found.items()
    }
