"""The study of one search problem: proposes its trials one after another and keeps how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice

from tlbench.core.description import Trial
from tlbench.core.record import Record
from tlbench.core.segments import Values, extend_to_end
from tlbench.search.objective import (
    VALUE_CURVE,
    beats_by_standard_error,
    best_record,
    cheapest_record,
    is_complete,
    price_of,
)
from tlbench.search.problem import SearchProblem
from tlbench.search.sampler import Sampler
from tlbench.search.scheduler import Population


class Study:
    """The trials of one search problem. The first has the default configuration.

    Where a trial is one segment of a training (:attr:`SearchProblem.segmented`), they come in the generations of a
    population, and one of the last generation that is whole is chosen.

    Which one wins is decided by the one-standard-error rule: the default stays unless it is clearly beaten.

    Args:
        problem: The search problem.
        records: Trials that have ended before, by number.
    """

    def __init__(self, problem: SearchProblem, records: Mapping[int, Record]) -> None:
        self.problem = problem
        self.records = {number: _slim(record) for number, record in records.items()}
        self.running: dict[int, Trial] = {}
        self._listed: list[Values] | None = None
        if (configurations := problem.sampler.configurations) is not None:
            others = islice(configurations(problem), problem.search.trials - 1)
            self._listed = [problem.space.start, *others]
        self._population: Population | None = None
        if (population := problem.scheduler.population) is not None and self._listed is not None and problem.segmented:
            self._population = population(problem, self._listed, self.records)

    @property
    def spent(self) -> float:
        """Device-seconds of all trials so far, failed ones too: of GPUs where they have any, else of CPUs."""
        return sum(cost_of(record) for record in self.records.values())

    @property
    def max_trials(self) -> int:
        """Number of trials that it can come to, as far as that is known."""
        return len(self.records) + len(self.running) if self.closed else self._budget

    @property
    def _budget(self) -> int:
        """Number of trials, fewer where the space has fewer configurations."""
        if self._population is not None:
            return self._population.max_trials
        return self.problem.search.trials if self._listed is None else len(self._listed)

    @property
    def closed(self) -> bool:
        """Whether no further trial starts."""
        search = self.problem.search
        return (
            not self.problem.space.dimensions
            or len(self.records) + len(self.running) >= self._budget
            or (search.gpu_seconds is not None and self.spent >= search.gpu_seconds)
            or self.blind
        )

    @property
    def blind(self) -> bool:
        """Whether there is no validation to choose by, as with one label a class."""
        return 1 in self.records and self.records[1].status == "done" and not is_complete(self.records[1])

    @property
    def ended(self) -> bool:
        """Whether the search is over."""
        return self.closed and not self.running

    @property
    def best(self) -> Record | None:
        """The trial with the best value so far."""
        return best_record(self._finalists)

    @property
    def default(self) -> Record | None:
        """The trial that was trained longest with the default configuration."""
        if self._population is None:
            return self.records.get(1)
        held = [each for _, each in sorted(self.records.items()) if self.problem.is_default(each.trial)]
        return held[-1] if held else None

    @property
    def keeps_default(self) -> bool:
        """Whether the one-standard-error rule keeps the default although another trial is better.

        It is kept unless it is beaten by one standard error (:func:`beats_by_standard_error`). Where trials have no
        answers to compare, as under the validators of an adaptation, the best one wins.
        """
        best, default = self.best, self.default
        if best is None or default is None or not is_complete(default) or best.id == default.id:
            return False
        compared = any(each.id == default.id for each in self._finalists)
        return compared and beats_by_standard_error(best, default) is False

    @property
    def winner(self) -> Record | None:
        """The trial whose values the cell gets so far: the best, or the default where :attr:`keeps_default`.

        Where cost counts, the cheapest of those that are at most a point of accuracy below that one.
        """
        reference = self.default if self.keeps_default else self.best
        if reference is None or self.problem.search.objective == "accuracy":
            return reference
        return cheapest_record(self._finalists, reference, lambda record: _price(record, self.records))

    @property
    def winning_trial(self) -> Trial | None:
        """The trial whose values the cell gets, as it trains with them; None where none was trained to its end."""
        if self.winner is None:
            return None
        trial = self.winner.trial
        return replace(trial, segments=extend_to_end(trial.segments), parent=None)

    @property
    def _finalists(self) -> list[Record]:
        """The trials to choose among, in order of their numbers."""
        if self._population is not None:
            return self._population.finalists
        return [self.records[number] for number in sorted(self.records)]

    def propose(self) -> Trial | None:
        """Return a trial to start now, which counts as running from now on; None to wait."""
        search = self.problem.search
        most = search.parallel or (search.trials if search.independent else 1)
        if self.closed or len(self.running) >= most or (self.running and 1 not in self.records):
            return None
        number = next(n for n in range(1, self._budget + 1) if n not in self.records and n not in self.running)
        trial = self._trial(number)
        if trial is not None:
            self.running[number] = trial
        return trial

    def take(self, number: int, record: Record) -> None:
        """Note how a trial ended."""
        self.running.pop(number, None)
        self.records[number] = record = _slim(record)
        if self._population is not None:
            self._population.extend()
        if "_learner" in vars(self):
            self._learner.observe(number, record.trial.values, record)

    def withdraw(self, number: int) -> None:
        """Withdraw a trial that was proposed and is not run here."""
        self.running.pop(number, None)

    def _trial(self, number: int) -> Trial | None:
        """Return a trial; None where it is not known before others have ended."""
        if self._population is not None:
            return self._population.trial(number)
        if self._listed is not None:
            return self.problem.new_trial(number, self._listed[number - 1])
        values = self.problem.space.start if number == 1 else self._learner.propose(number)
        return self.problem.new_trial(number, values)

    @cached_property
    def _learner(self) -> Sampler:
        """The sampler, after it has proposed and observed the trials so far; created only to propose."""
        create = self.problem.sampler.create
        assert create is not None, "a study whose configurations are not listed has a sampler that learns"
        learner = create(self.problem)
        for number in sorted(self.records):
            if number > 1:
                learner.propose(number)
            learner.observe(number, self.records[number].trial.values, self.records[number])
        return learner


def _slim(record: Record) -> Record:
    """Return the part of a record that a search needs, so that thousands of trials fit into memory."""
    outcome = record.outcome
    if outcome is not None:
        outcome = outcome.model_copy(update={"curves": {VALUE_CURVE: outcome.curves.get(VALUE_CURVE, [])}})
    cell = record.cell.model_copy(update={"params": {}, "recipe": {}, "options": {}})
    return record.model_copy(update={"cell": cell, "outcome": outcome, "provenance": {}, "error": None})


def cost_of(record: Record) -> float:
    """Return the device-seconds of a trial."""
    return record.cost.billed


def _price(record: Record, records: Mapping[int, Record]) -> float:
    """Return the price of the training behind a trial, that of the trials whose training it continues included."""
    parent = record.trial.parent
    return price_of(record) + (0.0 if parent is None else _price(records[parent], records))
