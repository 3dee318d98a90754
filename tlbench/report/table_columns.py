"""Columns that tables of several sections share: an estimate, a difference to the baseline, a cost."""

from __future__ import annotations

from tlbench.report import number_format as text
from tlbench.report.metric_text import natural_scores
from tlbench.report.rows.cost import Cost
from tlbench.report.rows.differences import Difference
from tlbench.report.table import Value
from tlbench.stats.intervals import Estimate


def estimate_columns(name: str, estimate: Estimate) -> dict[str, Value]:
    """Return the columns ``NAME``, ``NAME_low`` and ``NAME_high`` of an estimate, as fractions of 1."""
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def score_columns(estimate: Estimate, metric: str) -> dict[str, Value]:
    """Return the columns ``METRIC``, ``METRIC_low`` and ``METRIC_high`` of a score, as the metric itself counts."""
    mean, low, high = natural_scores(estimate, metric)
    return {metric: mean, f"{metric}_low": low, f"{metric}_high": high}


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
    """Return the columns of a cost: what a cell is billed, its wall seconds, shared trainings, parameters, bytes."""
    fewest, most = cost.shared_cells or (None, None)
    return {
        "device_seconds": cost.device_seconds,
        "device": cost.device,
        "embedding_seconds": cost.embedding_seconds,
        "seconds": cost.seconds,
        "shared_seconds": cost.shared_seconds,
        "shared_device": cost.shared_device,
        "shared_trainings": len(cost.shared),
        "shared_cells_fewest": fewest,
        "shared_cells_most": most,
        "trainable": cost.trainable,
        "stored_bytes": cost.stored_bytes,
        "peak_memory": cost.peak_memory,
    }


def shared_text(cost: Cost) -> str:
    """Return what shared trainings took together and how many cells share them: ``312 CPU-s, used by 40 cells``."""
    if cost.shared_cells is None:
        return text.NONE
    fewest, most = cost.shared_cells
    seconds = text.device_seconds(cost.shared_seconds, cost.shared_device)
    told = "not measured" if cost.shared_seconds is None else seconds
    used = f"used by {text.counted(most, 'cell')}" if fewest == most else f"used by {fewest} to {most} cells"
    several = len(cost.shared)
    return f"{told}, {used}" if several == 1 else f"{told} in {several} trainings, each {used}"


def difference_texts(difference: Difference) -> tuple[str, str, str]:
    """Return a difference, its interval and its corrected p-value as people read them."""
    if difference.contrast is None:
        return text.NONE, text.NONE, text.NONE
    estimate = difference.contrast.estimate
    return text.points(estimate.mean), text.points_interval(estimate), text.p_value(difference.p_holm)
