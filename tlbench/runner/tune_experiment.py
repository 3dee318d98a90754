"""Runs the trials of all open searches: one experiment of Ray Tune over every setting, resumed from the ledger."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core.errors import UserError
from tlbench.core.resources import Resources
from tlbench.runner.attempts import Attempts
from tlbench.runner.observer import Stage, observed
from tlbench.runner.run_context import RunContext
from tlbench.runner.trial_queue import TrialQueue
from tlbench.search.scheduler import scheduler
from tlbench.search.study import Study
from tlbench.worker.segment_states import delete_states

if TYPE_CHECKING:
    from ray.tune import Tuner

_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # the ledger knows everything; this file would be written anew each time
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "100000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_DELIM": "/",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass(frozen=True)
class Experiment:
    """The trials of all open searches of a suite.

    Attributes:
        studies: The searches to end, by key of their search problem.
        scheduler: Name of the search scheduler.
        resources: What one trial holds.
        retracted: Ids of trials whose results are retracted before the first trial starts.
    """

    studies: Mapping[str, Study]
    scheduler: str
    resources: Resources
    retracted: Collection[str] = ()


def run_trials(experiment: Experiment, attempts: Attempts, context: RunContext) -> None:
    """Run trials until every study has ended, or until the user or the budget stops them.

    Starts the session unless it has been. On return the last of Tune's processes may still be ending:
    :meth:`RaySession.wait_until_idle` waits for them.

    Args:
        experiment: What the trials are.
        attempts: Decides about their leases, deaths and overruns, and about the budget.
        context: What the stages of this run share.

    Raises:
        UserError: Trials would need several workers each, or no cluster answers.
    """
    if experiment.resources.workers > 1:
        raise UserError(
            "a search trains each trial in one process", "leave resources.workers at 1; cells of a suite may have more"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    context.session.start()
    if context.stop.is_set():
        return
    context.ledger.forget(experiment.retracted)  # not before the cluster stands: results outlive a wrong address
    context.gate.start_stage(context.session.machines())
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it tells of trials that failed, as we do
    workers = context.session.capacity(experiment.resources)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)  # all processes start at once, not one after another
    folder = context.workspace.root / "tune" / uuid.uuid4().hex[:12]
    studies = experiment.studies.values()
    done, total = sum(len(study.records) for study in studies), sum(study.max_trials for study in studies)
    try:
        with observed(context.observer, Stage("trials", total, done, workers)):
            _tuner(experiment, attempts, context, workers, folder).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        ended = (key for key, study in experiment.studies.items() if study.ended)
        delete_states(ended, context.workspace.artifacts)


def _tuner(experiment: Experiment, attempts: Attempts, context: RunContext, workers: int, folder: Path) -> Tuner:
    from ray import tune

    from tlbench.runner.tune_scheduler import TuneScheduler
    from tlbench.runner.tune_searcher import LeaseRenewal, TuneSearcher
    from tlbench.runner.tune_trial import TrialTask, run_trial

    resources, plugin = experiment.resources, scheduler(experiment.scheduler)
    queue = TrialQueue(experiment.studies, attempts, context.gate, context.stop.is_set)
    task = TrialTask(
        artifact_root=str(context.workspace.artifacts.root),
        resources=resources,
        problems={key: study.problem for key, study in experiment.studies.items()},
        checkpoints=plugin.checkpoints,
        minutes=attempts.minutes_per_job,
    )
    per_trial: dict[str, float] = {"cpu": resources.cpus, "gpu": resources.gpus}
    trainable: Any = tune.with_resources(tune.with_parameters(run_trial, task=task), per_trial)
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=TuneSearcher(queue, context.gate),
            scheduler=TuneScheduler(experiment.studies, plugin),
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="search", storage_path=str(folder), verbose=0, callbacks=[LeaseRenewal(queue)]),
    )
