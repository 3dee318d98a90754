"""Which trials end early: one of Tune's schedulers for each setting, since settings are not compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from tlbench.core.segments import WHOLE
from tlbench.search.objective import RUNGS, finished, worth_of
from tlbench.search.study import Study

MARKS: dict[str, tuple[int, ...]] = {"none": (), "asha": (1, 3), "median": tuple(range(1, WHOLE)), "pbt": ()}
"""Ninths of a training at which a scheduler looks at a trial."""
_LEAST = 3  # trials before there is a median


class Judges(FIFOScheduler):
    """Hands what a trial reports to the scheduler of its setting, under its number there.

    Tune's own name of a trial changes when its process dies and another one starts it anew; what the trial then
    reports once more is not judged twice.

    Args:
        studies: By key of their setting; schedulers learn what their trials reported before.
        scheduler: ``none`` and ``pbt``, which end no trial; ``asha`` (Li et al. 2020, arXiv:1810.05934, section 3.2);
            or ``median`` (Golovin et al. 2017, "Google Vizier", section 3.3.2).
    """

    def __init__(self, studies: dict[str, Study], scheduler: str) -> None:
        super().__init__()
        self._of: dict[str, TrialScheduler] = {}
        self._judged: dict[tuple[str, int], int] = {}  # the last share of each trial
        if MARKS[scheduler]:
            self._of = {key: _remembering(study, scheduler) for key, study in studies.items()}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Hand it on."""
        if (judge := self._judge(trial)) is not None:
            judge.on_trial_add(tune_controller, _Named(trial.config["number"]))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Hand it on, and return whether the trial goes on."""
        judge = self._judge(trial)
        if judge is None or not math.isfinite(result["value"]) or result["share"] >= WHOLE:
            return TrialScheduler.CONTINUE
        name = trial.config["setting"], trial.config["number"]
        if result["share"] <= self._judged.get(name, 0):
            return TrialScheduler.CONTINUE
        self._judged[name] = result["share"]
        return str(judge.on_trial_result(tune_controller, _Named(name[1]), result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Hand it on."""
        judge = self._judge(trial)
        if judge is not None and math.isfinite(result["value"]):
            judge.on_trial_complete(tune_controller, _Named(trial.config["number"]), result)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its scheduler for a restart of its own, which never happens."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Judges:
        return self

    def _judge(self, trial: Any) -> TrialScheduler | None:
        return self._of.get(trial.config["setting"])


def _remembering(study: Study, scheduler: str) -> TrialScheduler:
    shared = {"time_attr": "share", "metric": "value", "mode": "max", "grace_period": 1}
    if scheduler == "asha":
        judge: TrialScheduler = ASHAScheduler(max_t=WHOLE, reduction_factor=3, **shared)
    else:
        judge = MedianStoppingRule(min_samples_required=_LEAST, min_time_slice=math.inf, **shared)
    for number in sorted(study.records):
        record = study.records[number]
        before = _Named(number)
        judge.on_trial_add(None, before)
        for share, value in record.outcome.curves.get(RUNGS, []) if record.outcome is not None else ():
            judge.on_trial_result(None, before, {"share": share, "value": value})
        value = worth_of(record.outcome)
        if finished(record) and value is not None:
            judge.on_trial_complete(None, before, {"share": WHOLE, "value": value})
    return judge


@dataclass(frozen=True)
class _Named:
    """Stands for a trial of one setting, of this run or an earlier one."""

    number: int

    @property
    def trial_id(self) -> str:
        """What Tune's schedulers know it by."""
        return str(self.number)
