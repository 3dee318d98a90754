"""Choices on validation that take fits of their own, before the fit to all labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.predictor import Predictor
from tlbench.training.validation_scores import Candidates, Choice, ValidationScores


class Fit(Protocol):
    """Fits a cell's method."""

    def __call__(self, task: Task, ctx: Context | None = None, /) -> Predictor:
        """Return the fitted method.

        Args:
            task: What to fit on.
            ctx: The context of a fit that only serves to choose something, from :meth:`Context.for_choice`; None is
                the cell's own. The method then has a copy of the backbone.
        """


def choose_by_fits(tasks: Sequence[Task], fit: Fit, ctx: Context) -> None:
    """Fit the method once to each task, and fix in the context what is best on average over their validation examples.

    Values that were not a candidate in every fit, as epochs after the end of the shortest training, are left out. The
    context's ``validation`` has the scores of the last choice.

    Args:
        tasks: One or more with validation examples.
        fit: Fits the method.
        ctx: The cell's context.
    """
    fits: list[Context] = []
    for number, task in enumerate(tasks):
        fits.append(ctx.for_choice(number))
        fit(task, fits[-1])
    sizes = [len(task.val) for task in tasks if task.val is not None]
    fixed: dict[str, Choice] = {}
    for name, first in fits[0].candidates.items():
        scores = [own.candidates[name].scores for own in fits if name in own.candidates]
        common = [value for value in first.scores if len(scores) == len(fits) and all(value in each for each in scores)]
        means = Candidates({value: _mean([each[value] for each in scores], sizes) for value in common}, first.key)
        if means.scores:
            fixed[name] = means.best
            ctx.report_validation(means.scores[means.best])
    ctx.fixed = fixed


def _mean(scores: Sequence[ValidationScores], sizes: Sequence[int]) -> ValidationScores:
    columns = [[each for each in values if each is not None] for values in zip(*scores, strict=True)]
    return ValidationScores(*(float(np.average(values, weights=sizes)) for values in columns if values))
