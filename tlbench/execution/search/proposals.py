"""What Tune asks for trials, and tells how they end: deals the cluster out among all settings at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher

from tlbench.core.cell import Cell
from tlbench.core.record import Cost, Record
from tlbench.execution.needs import needs
from tlbench.execution.search.study import Study
from tlbench.store.ledger import Ledger

LEASE_SECONDS = 14 * 86400.0  # a lease ends with its owner's process long before


class Proposals(Searcher):
    """The trials of all studies. The setting that has used the least of its budget goes first.

    Weights that several settings need are made by the first trial that needs them; until it ends, other settings go.

    Args:
        studies: By key of their setting.
        ledger: Where records are committed.
        owner: This driver, for leases.
        device: CPUs and GPUs of a trial, for the cost of one that died.
        on_record: Called with each record that was committed.
        stopping: Says whether to start nothing more.
    """

    def __init__(
        self,
        studies: Mapping[str, Study],
        ledger: Ledger,
        owner: str,
        device: tuple[float, float],
        on_record: Callable[[Record], None],
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__(metric="value", mode="max")
        self._open = dict(studies)
        self._ledger, self._owner, self._device = ledger, owner, device
        self._on_record, self._stopping = on_record, stopping
        self._under_way: dict[str, tuple[Study, int, int, float]] = {}
        self._needs = {key: {make.id for make in needs(_first(study))} for key, study in studies.items()}
        self._made: set[str] = set()
        self._making: dict[str, set[str]] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a trial that starts now, None to ask again later, or that there are no more."""
        self._open = {key: study for key, study in self._open.items() if not study.ended}
        if not self._open or self._stopping():
            return Searcher.FINISHED
        for key, study in sorted(self._open.items(), key=lambda item: _progress(item[1])):
            missing = self._needs[key] - self._made
            if any(missing & others for others in self._making.values()):
                continue  # it would wait for weights that another trial is making, and keep a worker idle
            proposed = study.propose()
            if proposed is None:
                continue
            number, values = proposed
            cell = study.setting.trial_id(number)
            lease = self._ledger.lease([cell], self._owner, LEASE_SECONDS)
            if cell not in lease:  # another driver searches this setting
                study.give_back(number)
                del self._open[key]
                return self.suggest(trial_id)
            self._making[trial_id] = missing
            self._under_way[trial_id] = study, number, lease[cell], time.time()
            return {"setting": key, "number": number, "values": values}
        return None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Commit a trial's record, and let its study learn from it."""
        study, number, attempt, began = self._under_way.pop(trial_id)
        self._made |= self._making.pop(trial_id)
        record = None if error or not result else result.get("record")
        ended = self._died(study, number, began) if record is None else Record.model_validate_json(record)
        if self._ledger.commit(ended, attempt):
            self._on_record(ended)
        study.take(number, ended)

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger has it all."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher for a restart of its own, which never happens."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Proposals:
        return self

    def _died(self, study: Study, number: int, began: float) -> Record:
        """Return the record of a trial whose process died more often than it is given another."""
        cpus, gpus = self._device
        seconds = time.time() - began
        return Record(
            cell=study.setting.trial(number, study.running[number]).describe(),
            status="failed",
            cost=Cost(
                seconds=seconds, train_seconds=0, cpu_seconds=0, peak_memory=0, gpus=gpus, cpus=cpus, started=began
            ),
            error={
                "type": "WorkerDied",
                "message": "the process that ran the trial died, and again when it was tried anew",
                "traceback": "",
            },
        )


def _first(study: Study) -> Cell:
    return study.setting.trial(1, study.setting.space.start)


def _progress(study: Study) -> float:
    return (len(study.records) + len(study.running)) / study.setting.search.trials
