"""Adapter of a search scheduler to Ray Tune: hands a trial's results to the stopping rule of its search problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tlbench.search.objective import VALUE_CURVE, is_complete, value_of
from tlbench.search.scheduler import SchedulerPlugin, StoppingRule
from tlbench.search.study import Study


class TuneScheduler(FIFOScheduler):
    """Asks the stopping rule of a trial's search problem whether the trial goes on.

    A trial is known by its number within its problem: Tune's own name of it changes when its process dies and another
    one starts it anew. Results that such a process reports once more are not observed twice.

    Args:
        studies: By key of their problem; the rules observe the trials of their records first.
        scheduler: The scheduler of the suite.
    """

    def __init__(self, studies: Mapping[str, Study], scheduler: SchedulerPlugin) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rules: dict[str, StoppingRule] = {}
        self._observed: dict[tuple[str, int], int] = {}  # the last ninth of each trial
        self._checkpoints = scheduler.checkpoints
        if scheduler.stopping_rule is not None:
            self._rules = {key: _restored(study, scheduler.stopping_rule()) for key, study in studies.items()}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether a trial goes on after what it reports."""
        rule = self._rules.get(trial.config["setting"])
        if rule is None or result["share"] not in self._checkpoints or not math.isfinite(result["value"]):
            return str(TrialScheduler.CONTINUE)
        name = trial.config["setting"], trial.config["number"]
        if result["share"] <= self._observed.get(name, 0):
            return str(TrialScheduler.CONTINUE)
        self._observed[name] = result["share"]
        stops = rule.observe(name[1], result["share"], result["value"])
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Note the value of a trial that has ended."""
        rule = self._rules.get(trial.config["setting"])
        if rule is not None and math.isfinite(result["value"]):
            rule.complete(trial.config["number"], result["value"])

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its scheduler for a restart of its own, which never happens."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> TuneScheduler:
        return self


def _restored(study: Study, rule: StoppingRule) -> StoppingRule:
    """Return a stopping rule that has observed the trials of a study's records, in order of their numbers."""
    for number, record in sorted(study.records.items()):
        for ninth, value in record.outcome.curves.get(VALUE_CURVE, []) if record.outcome is not None else ():
            rule.observe(number, ninth, value)
        value_at_end = value_of(record)
        if is_complete(record) and value_at_end is not None:
            rule.complete(number, value_at_end)
    return rule
