"""The study of one setting: proposes its trials one after another, and knows how they ended. No torch, no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from tlbench.core.description import Trial
from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.record import Record
from tlbench.core.segments import Values, extend_to_end
from tlbench.search.objective import RUNGS, finished, winner
from tlbench.search.population import Population, train_seconds, trial_of
from tlbench.search.problem import SearchProblem

if TYPE_CHECKING:
    from tlbench.search.samplers.optuna import OnOptuna

_DRAWS = 50  # in search of a configuration that is new, before the space counts as exhausted


class Study:
    """One setting's trials. The first has the default configuration.

    Where a trial is one segment of a training (:attr:`SearchProblem.segmented`), they come in the generations of a
    population, and one of the last generation that is whole is chosen.

    Args:
        setting: The setting.
        records: Trials that have ended before, by number.
    """

    def __init__(self, setting: SearchProblem, records: Mapping[int, Record]) -> None:
        self.setting = setting
        self.records = {number: _kept(record) for number, record in records.items()}
        self.running: dict[int, Trial] = {}
        self._listed: list[Values] | None = None
        if setting.search.searcher != "optuna":
            others = _grid(setting) if setting.search.searcher == "grid" else _random(setting)
            self._listed = [setting.space.start, *islice(others, setting.search.trials - 1)]
        self._population: Population | None = None
        if self._listed is not None and setting.segmented:
            self._population = Population(setting, self._listed, self.records)

    @property
    def spent(self) -> float:
        """Device-seconds of all trials so far, failed ones too: of GPUs where they have any, else of CPUs."""
        return sum(cost_of(record) for record in self.records.values())

    @property
    def most(self) -> int:
        """Number of trials that it can come to, as far as that is known."""
        return len(self.records) + len(self.running) if self.closed else self._budget

    @property
    def _budget(self) -> int:
        """Number of trials, fewer where the space has fewer configurations."""
        if self._population is not None:
            return self._population.most
        return self.setting.search.trials if self._listed is None else len(self._listed)

    @property
    def closed(self) -> bool:
        """Whether no further trial starts."""
        search = self.setting.search
        return (
            not self.setting.space.dimensions
            or len(self.records) + len(self.running) >= self._budget
            or (search.gpu_seconds is not None and self.spent >= search.gpu_seconds)
            or self.blind
        )

    @property
    def blind(self) -> bool:
        """Whether the setting has no validation to choose by, as with one label a class."""
        return 1 in self.records and self.records[1].status == "done" and not finished(self.records[1])

    @property
    def ended(self) -> bool:
        """Whether the search of this setting is over."""
        return self.closed and not self.running

    @property
    def winner(self) -> Record | None:
        """The best trial so far."""
        ended = [self.records[number] for number in sorted(self.records)]
        chosen = ended if self._population is None else self._population.finalists
        return winner(chosen, self.setting.search.objective, lambda record: train_seconds(record, self.records))

    @property
    def default(self) -> Record | None:
        """The trial that came farthest with the default configuration."""
        if self._population is None:
            return self.records.get(1)
        start = canonical(self.setting.space.start)
        held = [each for number, each in sorted(self.records.items()) if _held(each, start)]
        return held[-1] if held else None

    @property
    def best_trial(self) -> Trial | None:
        """What a setting's cells are trained with; None where no trial was trained to its end."""
        if self.winner is None:
            return None
        trial = trial_of(self.winner)
        return replace(trial, segments=extend_to_end(trial.segments), parent=None)

    def propose(self) -> Trial | None:
        """Return a trial to start now, which counts as running from now on; None to wait."""
        search = self.setting.search
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
        self.records[number] = record = _kept(record)
        if self._population is not None:
            self._population.grow()
        if "_learner" in vars(self):
            self._learner.take(number, trial_of(record).values, record)

    def give_back(self, number: int) -> None:
        """Forget that a trial was started."""
        self.running.pop(number, None)

    def _trial(self, number: int) -> Trial | None:
        """Return a trial; None where it is not known before others have ended."""
        if self._population is not None:
            return self._population.trial(number)
        if self._listed is not None:
            return Trial(self.setting.key, number, self._listed[number - 1])
        values = self.setting.space.start if number == 1 else self._learner.propose(number)
        return Trial(self.setting.key, number, values)

    @cached_property
    def _learner(self) -> OnOptuna:
        """What proposes by the results so far, brought to where it was when they came; made only to propose."""
        from tlbench.search.samplers.optuna import OnOptuna

        learner = OnOptuna(self.setting)
        for number in sorted(self.records):
            if number > 1:
                learner.propose(number)
            learner.take(number, trial_of(self.records[number]).values, self.records[number])
        return learner


def _kept(record: Record) -> Record:
    """Return of a trial what a search needs: some thousand whole records would fill the driver."""
    outcome = record.outcome
    if outcome is not None:
        outcome = outcome.model_copy(update={"curves": {RUNGS: outcome.curves.get(RUNGS, [])}})
    cell = record.cell.model_copy(update={"params": {}, "recipe": {}, "options": {}})
    return record.model_copy(update={"cell": cell, "outcome": outcome, "provenance": {}, "error": None})


def cost_of(record: Record) -> float:
    """Return the device-seconds of a trial."""
    return record.cost.seconds * (record.cost.gpus or record.cost.cpus)


def _held(record: Record, start: str) -> bool:
    trial = trial_of(record)
    return len(trial.segments) == 1 and canonical(trial.values) == start


def _grid(setting: SearchProblem) -> Iterator[Values]:
    start = canonical(setting.space.start)
    yield from (values for values in setting.space.grid() if canonical(values) != start)


def _random(setting: SearchProblem) -> Iterator[Values]:
    seen = {canonical(setting.space.start)}
    generator = Random(derive_seed(setting.key, "configurations"))
    while True:
        for _ in range(_DRAWS):
            values = setting.space.draw(generator)
            if canonical(values) not in seen:
                break
        else:
            return
        seen.add(canonical(values))
        yield values
