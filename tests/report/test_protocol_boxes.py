"""What the page says of the labels that choose, for every form of the option and for results of before it."""

from __future__ import annotations

from typing import Any

import pytest

from tlbench.protocols.classification import Options
from tlbench.report.sections._summary_protocols import _classification_rule, _options

ALL, PART = "all labels are fitted to", "which is not fitted to"


@pytest.mark.parametrize(
    ("given", "says", "fitted", "shown"),
    [
        ({}, "by folds of the labels", ALL, "validation auto"),
        ({"validation": "none"}, "nothing is chosen", ALL, "validation none"),
        ({"validation": "k_fold"}, "the mean over folds", ALL, "validation k_fold"),
        ({"validation": "held_out"}, "held out of the label budget", ALL, "validation held_out"),
        ({"validation": "held_out", "refit": False}, "held out", PART, "validation held_out, refit False"),
        ({"validation": {"extra": 2}}, "on 2 more labels of each class", PART, "validation extra 2"),
        ({"validation": {"extra": 2}, "refit": True}, "on 2 more labels", ALL, "validation extra 2, refit True"),
    ],
    ids=str,
)
def test_the_rule_is_that_of_the_options(given: dict[str, Any], says: str, fitted: str, shown: str) -> None:
    options = Options(**given).model_dump(mode="json")
    rule = _classification_rule(options)
    assert says in rule
    assert fitted in rule
    assert ({ALL, PART} - {fitted}).pop() not in rule
    assert _options(options) == shown


def test_results_of_the_first_version_held_labels_out_and_kept_them() -> None:
    assert PART in _classification_rule({})
    assert _options({"validator": "last"}) == "–"
