"""Follows a cell while it runs."""

from __future__ import annotations

from typing import Protocol

from tlbench.core.record import Outcome
from tlbench.training.context import Context
from tlbench.worker.cost_meter import CostMeter


class TrainingObserver(Protocol):
    """Called by :func:`tlbench.worker.run_cell.run_cell`, in the process and thread that runs the cell.

    An :class:`Exception` that a callback raises fails the cell; any other exception (as ``SystemExit``) ends the cell
    without a record.
    """

    def on_begin(self, meter: CostMeter) -> None:
        """Called once, when everything that the cell needs is built and its method is about to fit.

        Args:
            meter: Measures the cell from now on.
        """

    def on_epoch(self, ctx: Context, done: int, total: int) -> None:
        """Called after every epoch of every training in the method's ``fit``.

        Args:
            ctx: The context of the fit, with the curves so far.
            done: Epochs done.
            total: Epochs in all.
        """

    def on_fold(self, done: int, count: int, outcome: Outcome) -> None:
        """Called after each fold of a trial that is validated in folds.

        Args:
            done: Folds done.
            count: Folds in all.
            outcome: Of the folds so far (:func:`tlbench.training.outcomes.pool_folds`).
        """
