"""Selectors of all kinds: cells are picked, or the part at fault is quoted."""

from __future__ import annotations

import pytest
from made_results import results
from made_results import run as made
from odd_lines import SELECTORS
from outcomes import Outcomes, fuzz

from tlbench.cli.run import command_to_continue
from tlbench.core.errors import UserError
from tlbench.core.paths import shortened
from tlbench.planning.run_request import RunRequest
from tlbench.report.comparison.selections import compare_selections
from tlbench.suite.selector import CellFacts, conditions_in, read_selector

MANY = pytest.param(30_000, marks=pytest.mark.slow)
FACTS = CellFacts("ab12", "classification", "knn", "knn(k=5)", "conv4", "conv4/random", "random", "digits", 5, 1)


@pytest.mark.parametrize("examples", [1000, MANY])
def test_any_selector_picks_or_is_quoted(examples: int) -> None:
    def attempt(outcomes: Outcomes, text: str) -> None:
        selector = outcomes.of(lambda: read_selector(text, ("failed", "stale")))
        if selector is None:
            assert repr(shortened(text)) in outcomes.refusals[-1].message
            return
        assert selector.matches(FACTS) in (True, False)
        assert selector.matches(FACTS._replace(shots="full")) in (True, False)
        parts = conditions_in(text)
        assert read_selector(" ".join(parts), ("failed", "stale")).matches(FACTS) == selector.matches(FACTS)
        assert selector.matches(FACTS) == all(
            read_selector(part, ("failed", "stale")).matches(FACTS) for part in parts
        ), "conditions hold together exactly where each of them does"
        assert command_to_continue(RunRequest(only=text), FACTS, {})  # type: ignore[arg-type]

    fuzz(SELECTORS, attempt, examples)


@pytest.mark.parametrize("examples", [80, pytest.param(3000, marks=pytest.mark.slow)])
def test_any_two_selectors_are_compared_or_the_side_is_told(examples: int) -> None:
    runs = [
        made(method, 0.5 + seed / 10, seed, dataset)
        for method in ("knn", "lora")
        for seed in range(3)
        for dataset in ("digits", "glyphs")
    ]
    stored = results(runs)

    def attempt(outcomes: Outcomes, sides: tuple[str, str]) -> None:
        found = outcomes.of(lambda: compare_selections(*sides, stored))
        if found is not None:
            assert found.protocols
            assert all(0 < part.pairs <= min(part.cells) for part in found.protocols)

    sides = SELECTORS.flatmap(lambda text: SELECTORS.map(lambda other: (f"method=knn {text}", f"method=lora {other}")))
    fuzz(sides, attempt, examples, least=0.02)


def test_a_refused_selector_says_what_there_is() -> None:
    with pytest.raises(UserError, match="unknown field 'metod'") as caught:
        read_selector("metod=knn")
    assert caught.value.hint == "did you mean 'method'?"
