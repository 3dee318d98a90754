"""What the page says of the labels that choose, for every form of the option and for results of before it."""

from __future__ import annotations

from typing import Any

import pytest

from tlbench.core.hashing import canonical
from tlbench.protocols.classification import Options
from tlbench.report.labels import _protocol_labels, read_options
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
    stored = canonical({key: value if isinstance(value, str) else canonical(value) for key, value in options.items()})
    assert read_options(stored) == options, "as MLflow has them, every value a text"


def test_results_of_the_first_version_held_labels_out_and_kept_them() -> None:
    assert PART in _classification_rule({})
    assert _options({"validator": "last"}) == "–"


def test_a_file_of_episodes_is_told_by_the_beginning_of_its_hash() -> None:
    texts = ['{"episodes":"1000","ways":"5"}', '{"episodes":"{\\"sha256\\":\\"0123456789abcdef\\"}","ways":"5"}']
    drawn, given = map(read_options, texts)
    assert _options(given) == "episodes of the file 0123456789ab, ways 5"
    assert _options(drawn) == "episodes 1000, ways 5"
    assert list(_protocol_labels("episodic", texts).values()) == [
        "episodic (episodes=1000)",
        "episodic (episodes=sha256 012345)",
    ]
