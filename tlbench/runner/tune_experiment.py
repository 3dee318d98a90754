"""Runs the trials of all open searches: one experiment of Ray Tune over every setting, resumed from the ledger."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.core.resources import Resources
from tlbench.planning.budget import Budget
from tlbench.runner.observer import Stage, observed
from tlbench.runner.run_context import RunContext
from tlbench.search.scheduler import scheduler as named_scheduler
from tlbench.search.study import Study
from tlbench.worker.segment_states import delete_states

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
class TrialSettings:
    """What the trials of one experiment are.

    Attributes:
        studies: The searches to end, by key of their setting.
        scheduler: Name of the search scheduler, which decides which trials end early.
        resources: What one trial holds.
        budget: What the suite may use, and has used before.
    """

    studies: Mapping[str, Study]
    scheduler: str
    resources: Resources
    budget: Budget


def run_trials(settings: TrialSettings, context: RunContext) -> int:
    """Run trials until every study has ended, or until the user or the budget stops them.

    Starts the session unless it has been. On return the last of Tune's processes may still be ending:
    :meth:`RaySession.wait_until_idle` waits for them.

    Args:
        settings: What the trials are.
        context: What the stages of this run share.

    Returns:
        The number of records committed.

    Raises:
        UserError: Trials would need several workers each, or no cluster answers.
    """
    if settings.resources.workers > 1:
        raise UserError(
            "a search trains each trial in one process", "leave resources.workers at 1; cells of a suite may have more"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    context.session.start()
    if context.stop.is_set():
        return 0
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it tells of trials that failed, as we do
    workers = context.session.capacity(settings.resources)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)  # all processes start at once, not one after another
    folder = context.workspace.root / "tune" / uuid.uuid4().hex[:12]
    studies = settings.studies.values()
    stage = Stage("trials", sum(s.max_trials for s in studies), sum(len(s.records) for s in studies), workers)
    try:
        with observed(context.observer, stage):
            return _run_experiment(settings, context, workers, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        ended = (key for key, study in settings.studies.items() if study.ended)
        delete_states(ended, context.workspace.artifacts)


def _run_experiment(settings: TrialSettings, context: RunContext, workers: int, folder: Path) -> int:
    from ray import tune

    from tlbench.runner.tune_scheduler import TuneScheduler
    from tlbench.runner.tune_searcher import Proposals
    from tlbench.runner.tune_trial import Jobs, run_trial

    committed = 0
    scheduler = named_scheduler(settings.scheduler)

    def count(record: Record) -> None:
        nonlocal committed
        committed += 1
        context.observer.on_record(record)

    resources, budget = settings.resources, settings.budget
    jobs = Jobs(
        root=str(context.workspace.artifacts.root),
        resources=resources,
        settings={key: study.problem for key, study in settings.studies.items()},
        marks=scheduler.checkpoints,
        minutes=budget.limits.cell_minutes,
    )
    per_trial: dict[str, float] = {"cpu": resources.cpus, "gpu": resources.gpus}
    trainable: Any = tune.with_resources(tune.with_parameters(run_trial, jobs=jobs), per_trial)
    searcher = Proposals(
        settings.studies,
        context.ledger,
        context.owner,
        (float(resources.cpus), resources.gpus),
        budget,
        count,
        context.stop.is_set,
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=TuneScheduler(settings.studies, scheduler),
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="search", storage_path=str(folder), verbose=0),
    )
    tuner.fit()
    return committed
