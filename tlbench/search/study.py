"""The study of one search problem: proposes its trials one after another and keeps how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice

from tlbench.core.description import Trial
from tlbench.core.hashing import canonical
from tlbench.core.record import Record
from tlbench.core.segments import Values, extend_to_end
from tlbench.search.objective import VALUE_CURVE, best_record, is_complete, price_of
from tlbench.search.problem import SearchProblem
from tlbench.search.sampler import Sampler
from tlbench.search.scheduler import Population


class Study:
    """The trials of one search problem. The first has the default configuration.

    Where a trial is one segment of a training (:attr:`SearchProblem.segmented`), they come in the generations of a
    population, and one of the last generation that is whole is chosen.

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
    def winner(self) -> Record | None:
        """The best trial so far."""
        ended = [self.records[number] for number in sorted(self.records)]
        chosen = ended if self._population is None else self._population.finalists
        return best_record(chosen, self.problem.search.objective, lambda record: _price(record, self.records))

    @property
    def default(self) -> Record | None:
        """The trial that was trained longest with the default configuration."""
        if self._population is None:
            return self.records.get(1)
        start = canonical(self.problem.space.start)
        held = [each for number, each in sorted(self.records.items()) if _is_default_training(each, start)]
        return held[-1] if held else None

    @property
    def best_trial(self) -> Trial | None:
        """The trial whose values the cells of the setting get; None where no trial was trained to its end."""
        if self.winner is None:
            return None
        trial = self.winner.trial
        return replace(trial, segments=extend_to_end(trial.segments), parent=None)

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
            return Trial(self.problem.key, number, self._listed[number - 1])
        values = self.problem.space.start if number == 1 else self._learner.propose(number)
        return Trial(self.problem.key, number, values)

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


def _is_default_training(record: Record, start: str) -> bool:
    trial = record.trial
    return len(trial.segments) == 1 and canonical(trial.values) == start


def _price(record: Record, records: Mapping[int, Record]) -> float:
    """Return the price of the training behind a trial, that of the trials whose training it continues included."""
    parent = record.trial.parent
    return price_of(record) + (0.0 if parent is None else _price(records[parent], records))
