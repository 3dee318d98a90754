"""Population-based training: after each third of the training, the worst quarter continues from the best quarter.

Jaderberg et al. 2017, arXiv:1711.09846, with truncation selection and perturbed values (section 4), but synchronous: a
generation begins when the one before has ended, so that the same suite has the same trials on any cluster. A generation
is a third of the training, and a trial is one member's segment of it, so a population costs as much as that many whole
trainings.

One member keeps the default configuration from beginning to end, whatever it is worth: it is what the best is held
against in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random

from tlbench.core.description import Trial
from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.record import Record
from tlbench.core.segments import GENERATIONS, Values, append_segment
from tlbench.search.objective import is_complete, value_of
from tlbench.search.problem import SearchProblem

QUARTER = 4  # one of so many is replaced, at least one of a population of two or more
_DRAWS = 50  # in search of values that no other member has


class Generations:
    """The generations of a population; each is known when the one before has ended.

    Args:
        problem: A search problem whose trials are segments of trainings.
        first: The configurations of the first generation.
        records: Trials that have ended, by number; :meth:`extend` is called when there are more.
    """

    def __init__(self, problem: SearchProblem, first: Sequence[Values], records: Mapping[int, Record]) -> None:
        self._problem = problem
        self._records = records
        self._generations = [[_member(problem, number, each, None) for number, each in enumerate(first, start=1)]]
        self.extend()

    def extend(self) -> None:
        """Add the generations that follow from those that have ended."""
        while (ended := self._ended(self._generations[-1])) is not None:
            following = next_generation(self._problem, ended)
            if not following:
                return
            self._generations.append(following)

    def trial(self, number: int) -> Trial | None:
        """Return a trial; None where the generation before it has not ended."""
        generation, place = divmod(number - 1, len(self._generations[0]))
        return self._generations[generation][place] if generation < len(self._generations) else None

    @property
    def max_trials(self) -> int:
        """Number of trials: of all generations, or of those up to one of which no member was trained."""
        last = self._ended(self._generations[-1])
        over = last is not None and not any(map(is_complete, last))
        return len(self._generations[0]) * (len(self._generations) if over else len(GENERATIONS))

    @property
    def finalists(self) -> list[Record]:
        """The trials to choose among: of the last generation that is whole and has any trained, else of the first."""
        for generation in reversed(self._generations):
            ended = self._ended(generation)
            if ended is not None and any(map(is_complete, ended)):
                return ended
        return [self._records[number] for number in sorted(self._records)]

    def _ended(self, generation: Sequence[Trial]) -> list[Record] | None:
        """Return the records of a generation in order; None where some of it has not ended."""
        if any(trial.number not in self._records for trial in generation):
            return None
        return [self._records[trial.number] for trial in generation]


def population(problem: SearchProblem, first: Sequence[Values], records: Mapping[int, Record]) -> Generations:
    """Return the population of a search problem."""
    return Generations(problem, first, records)


def next_generation(problem: SearchProblem, ended: Sequence[Record]) -> list[Trial]:
    """Return the trials that follow a generation; none after the last one, or where no member was trained.

    The worst quarter, and whoever failed, goes on from the training of a member of the best quarter, with values near
    that one's. The others go on as they are, among them the best quarter and the member with the default configuration.

    Args:
        problem: The search problem.
        ended: The trials of the generation, in order of their numbers.
    """
    trained = sorted(filter(is_complete, ended), key=lambda record: -(value_of(record) or 0.0))
    if not trained or ended[0].trial.segments[-1].until == GENERATIONS[-1]:
        return []
    quarter = max(1, len(ended) // QUARTER) if len(ended) > 1 else 0
    best = trained[:quarter]
    stays = {record.id for record in best} | {r.id for r in trained if problem.is_default(r.trial)}
    leaves = [record.id for record in reversed(trained) if record.id not in stays]
    leaving = leaves[: max(0, quarter - (len(ended) - len(trained)))]
    kept = {record.id for record in trained if record.id not in leaving}
    numbered = list(enumerate(ended, start=ended[-1].trial.number + 1))
    trials = {
        number: _member(problem, number, record.trial.values, record)
        for number, record in numbered
        if record.id in kept
    }
    for number in (number for number, _ in numbered if number not in trials):
        trials[number] = _child(problem, number, best, trials.values())
    return [trials[number] for number in sorted(trials)]


def _child(problem: SearchProblem, number: int, best: Sequence[Record], others: Collection[Trial]) -> Trial:
    """Return a trial that goes on from one of the best with other values, which no other trial has where possible."""
    generator = Random(derive_seed(problem.key, "member", number))
    parent = generator.choice(best)
    taken = {canonical(other.segments) for other in others}
    for _ in range(_DRAWS):
        found = _member(problem, number, problem.space.near(parent.trial.values, generator), parent)
        if canonical(found.segments) not in taken:
            break
    return found


def _member(problem: SearchProblem, number: int, values: Values, parent: Record | None) -> Trial:
    continued = None if parent is None else parent.trial
    before = () if continued is None else continued.segments
    until = next(ninth for ninth in GENERATIONS if not before or ninth > before[-1].until)
    segments = append_segment(before, until, problem.space.complete(values))
    return Trial(problem.key, number, dict(values), segments, None if continued is None else continued.number)
