"""Finds the rows that others are compared with, and says why where there are none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tlbench.core.errors import UserError
from tlbench.plugins import registry
from tlbench.report.comparable_cells import ComparableCell


@dataclass(frozen=True)
class Baseline:
    """The baseline of one protocol.

    Attributes:
        label: Method label of its rows; empty where there is none.
        absence: Why there is none; empty where there is one.
    """

    label: str
    absence: str = ""


def find(cells: Sequence[ComparableCell], wanted: str) -> Baseline:
    """Return the baseline among the settled cells of one protocol.

    Args:
        cells: At least one cell, all of one protocol.
        wanted: The baseline as the suite names it: a row's label, or a method with a single label.
    """
    if not wanted:
        return Baseline("", "the suite names no baseline")
    labelled = next((cell.method for cell in cells if (cell.method_label or cell.method) == wanted), None)
    if labelled is not None:
        return Baseline(labelled)
    variants = sorted({cell.method for cell in cells if cell.method_name == wanted})
    if len(variants) == 1:
        return Baseline(variants[0])
    if variants:
        return Baseline("", f"the baseline {wanted} stands for several rows here: {', '.join(variants)}")
    protocol = cells[0].protocol_name
    if not _applies(wanted, protocol):
        return Baseline("", f"the baseline {wanted} does not apply to {protocol}")
    return Baseline("", f"the baseline {wanted} has no result in this protocol")


def _applies(method: str, protocol: str) -> bool:
    name = re.match(r"\w*", method)  # a label may go on with parameters
    assert name is not None
    try:
        return protocol in registry.declaration("methods", name[0]).protocols
    except UserError:
        return True  # a method of somewhere else: nothing is known of it here
