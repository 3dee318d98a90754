"""Columns that tables of several sections share: an estimate, a difference to the baseline, a cost."""

from __future__ import annotations

from tlbench.report import number_format as text
from tlbench.report.rows.cost import Cost
from tlbench.report.rows.differences import Difference
from tlbench.report.table import Value
from tlbench.stats.intervals import Estimate


def estimate_columns(name: str, estimate: Estimate) -> dict[str, Value]:
    """Return the columns ``NAME``, ``NAME_low`` and ``NAME_high`` of an estimate, as fractions of 1."""
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def difference_columns(difference: Difference) -> dict[str, Value]:
    """Return the columns of a difference to the baseline, its p-values and its remark."""
    contrast = difference.contrast
    nothing: dict[str, Value] = {"difference": None, "difference_low": None, "difference_high": None}
    return {
        **(estimate_columns("difference", contrast.estimate) if contrast else nothing),
        "pairs": contrast.pairs if contrast else 0,
        "p": contrast.p if contrast else None,
        "p_holm": difference.p_holm,
        "difference_remark": difference.remark,
    }


def cost_columns(cost: Cost) -> dict[str, Value]:
    """Return the columns of a cost: seconds, parameters, bytes."""
    return {
        "seconds": cost.seconds,
        "trainable": cost.trainable,
        "stored_bytes": cost.stored_bytes,
        "peak_memory": cost.peak_memory,
    }


def difference_texts(difference: Difference) -> tuple[str, str, str]:
    """Return a difference, its interval and its corrected p-value as people read them."""
    if difference.contrast is None:
        return text.NONE, text.NONE, text.NONE
    estimate = difference.contrast.estimate
    return text.points(estimate.mean), text.points_interval(estimate), text.p_value(difference.p_holm)
