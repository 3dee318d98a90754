"""Which results were made by code that has changed since."""

from __future__ import annotations

import pandas as pd

from tlbench.plugins.staleness import InstalledCode, Marks


def stale(done: pd.DataFrame) -> frozenset[str]:
    """Return the cells whose method, pre-training, teacher or protocol, or what all cells share, is other code today.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
    """
    columns = ["method", "protocol", "method_source", "protocol_source"]
    code = InstalledCode()
    changed = [
        row
        for row in done[columns].drop_duplicates().astype(str).itertuples(index=False, name=None)
        if code.has_changed(row[0], row[1], Marks(*row[2:]))
    ]
    index = pd.MultiIndex.from_frame(done[columns])
    return frozenset(done.loc[index.isin(changed), "cell"]) if changed else frozenset()
