"""Which results were made, or tuned, by code that has changed since."""

from __future__ import annotations

import pandas as pd

from tlbench.plugins.staleness import InstalledCode, Marks

_MARKS = ["method_source", "protocol_source"]


def stale(done: pd.DataFrame, trials: pd.DataFrame) -> frozenset[str]:
    """Return the cells behind which any code has changed: their own, or that of a trial of the search that tuned them.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
        trials: :attr:`tlbench.report.results.Results.trials`.
    """
    code = InstalledCode()
    searches = trials.loc[trials["status"].ne("failed") & _changed(trials, "name", code), "key"]
    return frozenset(done.loc[_changed(done, "method", code) | done["setting"].isin(set(searches) - {""}), "cell"])


def _changed(rows: pd.DataFrame, method: str, code: InstalledCode) -> pd.Series:
    """Say of each row whether its code has changed; ``method`` names the column of the method's name."""
    columns = [method, "protocol", *_MARKS]
    known = rows[columns].astype(str)
    changed = [
        row
        for row in known.drop_duplicates().itertuples(index=False, name=None)
        if code.has_changed(row[0], row[1], Marks(*row[2:]))
    ]
    return pd.Series(pd.MultiIndex.from_frame(known).isin(changed) if changed else False, index=rows.index, dtype=bool)
