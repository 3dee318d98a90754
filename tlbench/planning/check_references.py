"""Checks that each published figure which a suite names stands beside one of its rows."""

from __future__ import annotations

from collections.abc import Iterable

from tlbench.core.errors import UserError, together
from tlbench.core.planned_setting import PlannedSetting
from tlbench.suite.published import RowLabels, the_row
from tlbench.suite.spec import Suite
from tlbench.suite.yaml_source import Source


def check_references(suite: Suite, source: Source, settings: Iterable[PlannedSetting]) -> None:
    """Check the references of a suite against its plan.

    Args:
        suite: The suite.
        source: Its text, for the lines in messages.
        settings: What its plan comes to.

    Raises:
        UserError: With file and line of each reference that stands beside no row, or beside several.
    """
    options: dict[RowLabels, set[str]] = {}
    for each in settings:
        labels = RowLabels(each.protocol, each.method, each.backbone, each.dataset, each.shots)
        options.setdefault(labels, set()).add(each.options)
    errors = []
    for position, reference in enumerate(suite.references):
        try:
            found = the_row(reference.row, options)
            if len(options[found]) > 1:
                hint = "let a suite of its own name the reference"
                raise UserError(f"row: {' | '.join(found)} is run with several options of the protocol", hint)
        except UserError as error:
            errors.append(error.at(source.at(("references", position, "row"))))
    if errors:
        raise together(errors)
