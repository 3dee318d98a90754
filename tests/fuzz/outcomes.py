"""Runs generated input and holds how it ends to the house rule: a result, or a sentence to the user, in time."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from tlbench.core.errors import UserError

CPU_SECONDS = 20.0
"""Of one example; what waits without computing is ended by the test's own limit."""
LONGEST = 20_000
T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Outcomes:
    """How many examples ended in what, by kind, and the refusals themselves."""

    counts: Counter[str] = field(default_factory=Counter)
    refusals: list[UserError] = field(default_factory=list)

    def of(self, work: Callable[[], R]) -> R | None:
        """Return the result of some work, None where it ends in a sentence to the user; all else goes through."""
        try:
            with cpu_limit(CPU_SECONDS):
                result = work()
        except UserError as error:
            hold_to_form(error)
            self.refusals.append(error)
            self.counts["refused"] += 1
            return None
        self.counts["read"] += 1
        return result


def hold_to_form(error: UserError) -> None:
    """Check that an error can be read: it says something, on few lines, and repeats no input without end."""
    text = str(error)
    assert error.message.strip()
    assert len(text) < LONGEST, f"an error of {len(text)} characters"
    for trace in ("Traceback", "object at 0x", "<class '", "NoneType", "[Errno", "errors.pydantic.dev"):
        assert trace not in text, text


def fuzz(
    strategy: SearchStrategy[T], attempt: Callable[[Outcomes, T], Any], examples: int, least: float = 0.05
) -> Outcomes:
    """Try examples of a strategy, the same ones whenever they are tried.

    Args:
        strategy: Of the input.
        attempt: Does the work through :meth:`Outcomes.of` and asserts what must hold of its result.
        examples: How many.
        least: The share of attempts that must end in a result, and of those that must be refused: input that is all
            of one kind tests little.
    """
    outcomes = Outcomes()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def tried(example: T) -> None:
        attempt(outcomes, example)

    tried()
    ends = outcomes.counts["read"] + outcomes.counts["refused"]
    print(f"{examples} examples: {dict(outcomes.counts)}")
    assert min(outcomes.counts["read"], outcomes.counts["refused"]) >= least * ends, outcomes.counts
    return outcomes


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """End some work that computes for too long; load from elsewhere does not count."""

    def end(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds:g} seconds of CPU time")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
