"""Adapter of the trial queue to Ray Tune: proposes trials to Tune, and hands over how they ended."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from tlbench.core.record import Record
from tlbench.runner.artifact_gate import ArtifactGate
from tlbench.runner.trial_queue import TrialQueue


class TuneSearcher(Searcher):
    """Translates between Tune and a :class:`TrialQueue`.

    Tune's own name of a trial stands for one attempt. Tune itself would restart a trial whose process died, but not
    where the process died between two trials; so its restarts stay switched off, and the queue starts the trial anew.

    Args:
        queue: The trials.
        gate: Knows where the artifacts are that a trial requires.
    """

    def __init__(self, queue: TrialQueue, gate: ArtifactGate) -> None:
        super().__init__(metric="value", mode="max")
        self._queue = queue
        self._gate = gate

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a trial that starts now, None to ask again later, or that there are no more."""
        if self._queue.is_closed:
            return Searcher.FINISHED
        started = self._queue.start(trial_id)
        if started is None:
            return None
        return started.trial.to_json() | {"copies": self._gate.copies_for(started.cell)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand a trial's last report to the queue; one without a report has lost its process."""
        if error or not result or "record" not in result:
            self._queue.died(trial_id)
            return
        record = Record.model_validate_json(result["record"])
        self._queue.finish(trial_id, record, result["location"], result["available"])

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger has it all."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its searcher for a restart of its own, which never happens."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> TuneSearcher:
        return self


class LeaseRenewal(Callback):
    """Renews the leases of trials in each step of Tune's loop.

    Args:
        queue: The trials.
    """

    def __init__(self, queue: TrialQueue) -> None:
        self._queue = queue

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Renew them where it is time to."""
        self._queue.renew_leases()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing, as the searcher does."""
        return {}
