"""Population-based training: what the members of a generation go on with, as a function of the one before.

Jaderberg et al. 2017, arXiv:1711.09846, with truncation selection and perturbed values (section 4), but in step: a
generation begins when the one before has ended, so that the same suite has the same trials on any cluster. A generation
is a third of the training, and a trial a member's part of it; so a population costs what as many whole trainings do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random

from tlbench.core.description import Trial
from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.record import Record
from tlbench.core.segments import GENERATIONS, Values, append_segment
from tlbench.search.objective import finished, worth_of
from tlbench.search.problem import SearchProblem

QUARTER = 4  # one of so many is replaced, at least one of a population of two or more
_DRAWS = 50  # in search of values that no other member has


class Population:
    """The generations of a setting's trials, each of which is known when the one before has ended.

    Args:
        setting: The setting, whose trials are segments of trainings.
        first: The configurations of the first generation.
        records: Trials that have ended, by number; :meth:`grow` is told when there are more.
    """

    def __init__(self, setting: SearchProblem, first: Sequence[Values], records: Mapping[int, Record]) -> None:
        self._setting = setting
        self._records = records
        self._generations = [[_member(setting, number, each, None) for number, each in enumerate(first, start=1)]]
        self.grow()

    def grow(self) -> None:
        """Add the generations that follow from those that have ended."""
        while (ended := self._ended(self._generations[-1])) is not None:
            following = next_generation(self._setting, ended)
            if not following:
                return
            self._generations.append(following)

    def trial(self, number: int) -> Trial | None:
        """Return a trial; None where the generation before it has not ended."""
        generation, place = divmod(number - 1, len(self._generations[0]))
        return self._generations[generation][place] if generation < len(self._generations) else None

    @property
    def most(self) -> int:
        """Number of trials: of all generations, or of those up to one of which no member was trained."""
        last = self._ended(self._generations[-1])
        over = last is not None and not any(map(finished, last))
        return len(self._generations[0]) * (len(self._generations) if over else len(GENERATIONS))

    @property
    def finalists(self) -> list[Record]:
        """The trials to choose among: of the last generation that is whole and has any trained, else of the first."""
        for generation in reversed(self._generations):
            ended = self._ended(generation)
            if ended is not None and any(map(finished, ended)):
                return ended
        return [self._records[number] for number in sorted(self._records)]

    def _ended(self, generation: Sequence[Trial]) -> list[Record] | None:
        """Return the records of a generation in order; None where some of it has not ended."""
        if any(trial.number not in self._records for trial in generation):
            return None
        return [self._records[trial.number] for trial in generation]


def next_generation(setting: SearchProblem, ended: Sequence[Record]) -> list[Trial]:
    """Return the trials that follow a generation; none after the last one, or where no member was trained.

    The worst quarter, and whoever failed, goes on from the training of a member of the best quarter, with values near
    that one's. The others go on as they are.

    Args:
        setting: The setting.
        ended: The trials of the generation, in order of their numbers.
    """
    trained = sorted(filter(finished, ended), key=lambda record: -(worth_of(record.outcome) or 0.0))
    if not trained or trial_of(ended[0]).segments[-1].until == GENERATIONS[-1]:
        return []
    quarter = max(1, len(ended) // QUARTER) if len(ended) > 1 else 0
    kept = {record.id for record in trained[: len(ended) - quarter]}
    numbered = list(enumerate(ended, start=trial_of(ended[-1]).number + 1))
    trials = {
        number: _member(setting, number, trial_of(record).values, record)
        for number, record in numbered
        if record.id in kept
    }
    for number in (number for number, _ in numbered if number not in trials):
        trials[number] = _child(setting, number, trained[:quarter], trials.values())
    return [trials[number] for number in sorted(trials)]


def train_seconds(record: Record, records: Mapping[int, Record]) -> float:
    """Return the seconds of training behind a trial, those of the trials that it goes on from among them."""
    parent = trial_of(record).parent
    return record.cost.train_seconds + (0.0 if parent is None else train_seconds(records[parent], records))


def trial_of(record: Record) -> Trial:
    """Return the trial that a record belongs to.

    Raises:
        ValueError: It is the record of a cell of a grid.
    """
    if record.cell.trial is None:
        raise ValueError(f"{record.cell.label} is no trial")
    return record.cell.trial


def _child(setting: SearchProblem, number: int, best: Sequence[Record], others: Collection[Trial]) -> Trial:
    """Return a trial that goes on from one of the best with other values, which no other trial has where possible."""
    generator = Random(derive_seed(setting.key, "member", number))
    parent = generator.choice(best)
    taken = {canonical(other.segments) for other in others}
    for _ in range(_DRAWS):
        found = _member(setting, number, setting.space.near(trial_of(parent).values, generator), parent)
        if canonical(found.segments) not in taken:
            break
    return found


def _member(setting: SearchProblem, number: int, values: Values, parent: Record | None) -> Trial:
    continued = None if parent is None else trial_of(parent)
    before = () if continued is None else continued.segments
    until = next(ninth for ninth in GENERATIONS if not before or ninth > before[-1].until)
    segments = append_segment(before, until, setting.space.complete(values))
    return Trial(setting.key, number, dict(values), segments, None if continued is None else continued.number)
