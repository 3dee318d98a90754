"""Adaptation: what each validator chose without a label of the target, beside the oracle, and two rankings."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.sections import _adaptation_figure as figure
from tlbench.report.sections._adaptation_choices import ValidatorChoices, validator_choices
from tlbench.report.sections._adaptation_configurations import (
    listed_configurations,
    searched_configurations,
    validation_values,
)
from tlbench.report.sections._adaptation_marks import MARK, NOTE
from tlbench.report.sections._adaptation_rankings import two_rankings
from tlbench.report.sections._adaptation_table import GAPS, choices_table, configurations_table, rankings_table

TITLE = "Adaptation"
ORDER = 100
TABLES = ("adaptation", "rankings", "configurations")
FIGURES = ("adaptation",)


@dataclass(frozen=True)
class AdaptationContext:
    """What the template reads: the choices, and what their marks and gaps mean."""

    choices: ValidatorChoices
    gaps_note: str = GAPS
    mark: str = MARK
    mark_note: str = NOTE


def build(report: Report) -> Content:
    """Return the tables and the figure of what validators chose."""
    choices = validator_choices(report.cells)
    rankings = two_rankings(report.boards, report.cells)
    listed = listed_configurations(report.cells, validation_values(report.results.done))
    return Content(
        figures=(Figure("adaptation", figure.CAPTION, figure.frame(choices), figure.chart),),
        tables=(
            choices_table(choices),
            rankings_table(rankings),
            configurations_table(searched_configurations(report.results.trials), listed),
        ),
        context=AdaptationContext(choices),
    )
