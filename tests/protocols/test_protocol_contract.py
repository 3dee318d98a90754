"""Every protocol that is found keeps the contract; and the contract notices protocols that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tlbench.core.record import Outcome
from tlbench.data.dataset import TEST, Dataset, Task, take
from tlbench.protocols import classification
from tlbench.testing import protocol_contract as contract

CASE = contract.Case("classification")
_SEEDS = count()


@pytest.mark.parametrize("case", contract.cases(), ids=str)
@pytest.mark.parametrize("check", contract.CHECKS, ids=contract.title)
def test_contract(check: Callable[[contract.Case, Path], None], case: contract.Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the protocol's ``run`` by one that changes what goes in or comes out."""
    real = classification.run

    def replaced(change: Callable[..., Any]) -> None:
        monkeypatch.setattr(classification, "run", lambda *args: change(real, *args))

    return replaced


def leaks_the_test(real: Any, info: Any, dataset: Dataset, seed: int, fit: Any, ctx: Any) -> Any:
    rows = dataset.rows(TEST)
    test = take(dataset, rows, dataset.y[rows])
    return real(info, dataset, seed, lambda task: fit(replace(task, val=test)), ctx)


def reads_the_test_in_a_search(real: Any, info: Any, dataset: Dataset, seed: int, fit: Any, ctx: Any) -> Any:
    ctx.notes.append(str(int(dataset.x[dataset.rows(TEST)].sum())))
    return real(info, dataset, seed, fit, ctx)


def forgets_the_notes(real: Any, *args: Any) -> Outcome:
    return real(*args).model_copy(update={"notes": ()})


def has_an_outcome_in_every_process(real: Any, info: Any, dataset: Dataset, seed: int, fit: Any, ctx: Any) -> Any:
    return real(info, dataset, seed, fit, replace(ctx, group=contract.ProcessGroup()))


def shuffles_the_task(real: Any, info: Any, dataset: Dataset, seed: int, fit: Any, ctx: Any) -> Any:
    return real(info, dataset, next(_SEEDS), fit, ctx)


def misses_an_example(real: Any, *args: Any) -> Outcome:
    outcome: Outcome = real(*args)
    return outcome.model_copy(update={"tests": outcome.tests - 1})


def folds_nothing(real: Any, info: Any, dataset: Dataset, seed: int, fit: Any, ctx: Any) -> Any:
    return real(info, dataset, seed, fit, replace(ctx, fold=None))


def fits_twice(real: Any, info: Any, dataset: Dataset, seed: int, fit: Any, ctx: Any) -> Any:
    def both(task: Task) -> Any:
        fit(task)
        return fit(task)

    return real(info, dataset, seed, both, ctx)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (leaks_the_test, contract.check_test_labels),
        (reads_the_test_in_a_search, contract.check_validation_only),
        (forgets_the_notes, contract.check_outcome),
        (has_an_outcome_in_every_process, contract.check_group),
        (shuffles_the_task, contract.check_reproducible),
        (misses_an_example, contract.check_outcome),
        (fits_twice, contract.check_outcome),
        (folds_nothing, contract.check_folds),
    ],
)
def test_a_protocol_that_breaks_the_contract_is_noticed(
    change: Callable[..., Any],
    check: Callable[[contract.Case, Path], None],
    run: Callable[..., None],
    tmp_path: Path,
) -> None:
    run(change)
    with pytest.raises(AssertionError):
        check(CASE, tmp_path)
