"""The study of one setting: proposes its trials one after another, and knows how they ended. No torch, no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

from tlbench.core.hashing import canonical, derive_seed
from tlbench.core.record import Record
from tlbench.core.setting import Setting
from tlbench.execution.search.worth import finished, winner

if TYPE_CHECKING:
    from tlbench.execution.search.on_optuna import OnOptuna

Values = dict[str, Any]
_DRAWS = 50  # in search of a configuration that is new, before the space counts as exhausted


class Study:
    """One setting's trials. The first has the default configuration.

    Args:
        setting: The setting.
        records: Trials that have ended before, by number.
    """

    def __init__(self, setting: Setting, records: Mapping[int, Record]) -> None:
        self.setting = setting
        self.records = dict(records)
        self.running: dict[int, Values] = {}
        self._listed: list[Values] | None = None
        if setting.search.searcher != "optuna":
            others = _grid(setting) if setting.search.searcher == "grid" else _random(setting)
            self._listed = [setting.space.start, *islice(others, setting.search.trials - 1)]

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
        return winner((self.records[number] for number in sorted(self.records)), self.setting.search.objective)

    def propose(self) -> tuple[int, Values] | None:
        """Return number and values of a trial to start now, which counts as running from now on; None to wait."""
        search = self.setting.search
        most = search.parallel or (search.trials if search.independent else 1)
        if self.closed or len(self.running) >= most or (self.running and 1 not in self.records):
            return None
        number = next(n for n in range(1, self._budget + 1) if n not in self.records and n not in self.running)
        values = self.setting.space.start if number == 1 else self._values(number)
        self.running[number] = values
        return number, values

    def take(self, number: int, record: Record) -> None:
        """Note how a trial ended."""
        self.running.pop(number, None)
        self.records[number] = record
        if "_learner" in vars(self):
            self._learner.take(number, record.cell["trial"]["values"], record)

    def give_back(self, number: int) -> None:
        """Forget that a trial was started."""
        self.running.pop(number, None)

    def _values(self, number: int) -> Values:
        return self._learner.propose(number) if self._listed is None else self._listed[number - 1]

    @cached_property
    def _learner(self) -> OnOptuna:
        """What proposes by the results so far, brought to where it was when they came; made only to propose."""
        from tlbench.execution.search.on_optuna import OnOptuna

        learner = OnOptuna(self.setting)
        for number in sorted(self.records):
            if number > 1:
                learner.propose(number)
            learner.take(number, self.records[number].cell["trial"]["values"], self.records[number])
        return learner


def cost_of(record: Record) -> float:
    """Return the device-seconds of a trial."""
    return record.cost.seconds * (record.cost.gpus or record.cost.cpus)


def _grid(setting: Setting) -> Iterator[Values]:
    start = canonical(setting.space.start)
    yield from (values for values in setting.space.grid() if canonical(values) != start)


def _random(setting: Setting) -> Iterator[Values]:
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
