"""Adaptation: the models that each validator chose without a label of the target, beside the oracle."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.sections import _adaptation_figure as figure
from tlbench.report.sections._adaptation_choices import ValidatorChoices, validator_choices
from tlbench.report.sections._adaptation_table import GAPS, choices_table

TITLE = "Adaptation"
ORDER = 100
TABLES = ("adaptation",)
FIGURES = ("adaptation",)


@dataclass(frozen=True)
class AdaptationContext:
    """What the template reads: the choices, and a note on how far validators fall from the oracle."""

    choices: ValidatorChoices
    gaps_note: str = GAPS


def build(report: Report) -> Content:
    """Return the table and the figure of what validators chose."""
    choices = validator_choices(report.cells)
    return Content(
        figures=(Figure("adaptation", figure.CAPTION, figure.frame(choices), figure.chart),),
        tables=(choices_table(choices),),
        context=AdaptationContext(choices),
    )
