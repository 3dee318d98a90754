"""Which results were made by code that has changed since."""

from __future__ import annotations

import pandas as pd

from tlbench.core.errors import UserError
from tlbench.plugins import registry
from tlbench.plugins.code_mark import same_code


def stale(done: pd.DataFrame) -> frozenset[str]:
    """Return the cells whose method, pre-training, teacher or protocol has another source file today.

    A cell's mark lists the hash of its method's file first, then those of whatever trained networks it started from. As
    for a plan, an empty mark counts as unchanged; so does what comes from methods that are not installed here.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
    """
    columns = ["method", "protocol", "method_source", "protocol_source"]
    marks = done[columns].drop_duplicates()
    changed = [row for row in marks.itertuples(index=False, name=None) if _changed(*map(str, row))]
    index = pd.MultiIndex.from_frame(done[columns])
    return frozenset(done.loc[index.isin(changed), "cell"]) if changed else frozenset()


def _changed(method: str, protocol: str, method_source: str, protocol_source: str) -> bool:
    own, *others = method_source.split("+")
    if _is_other("methods", method, own) or _is_other("protocols", protocol, protocol_source):
        return True
    if not any(others):
        return False
    known = [registry.declaration("methods", name).source for name in registry.names("methods")]
    return not all(any(same_code(mark, source) for source in known) for mark in others)


def _is_other(kind: registry.Kind, name: str, mark: str) -> bool:
    try:
        return not same_code(mark, registry.declaration(kind, name).source)
    except UserError:
        return False
