"""Runs all searches of a suite: one experiment of Ray Tune over every setting, resumed from the ledger."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlbench.core.errors import UserError
from tlbench.core.record import Record
from tlbench.core.resources import Resources
from tlbench.planning.budget import Budget
from tlbench.runner.session import capacity, connect
from tlbench.search.scheduler import scheduler as named_scheduler
from tlbench.search.study import Study
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger
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


def tune_all(
    studies: dict[str, Study],
    resources: Resources,
    ledger: Ledger,
    workspace: Path,
    root: Path,
    owner: str,
    *,
    scheduler: str,
    budget: Budget,
    address: str | None,
    on_begin: Callable[[int], None],
    on_record: Callable[[Record], None],
    stopping: Callable[[], bool],
) -> None:
    """Run trials until every study has ended, or until told to stop.

    Args:
        studies: By key of their setting.
        resources: What one trial holds.
        ledger: Where records are committed.
        workspace: tlbench's folder.
        root: The artifact folder.
        owner: This driver, for leases.
        scheduler: Which trials end early.
        budget: What the suite may use, and has used before.
        address: A running Ray cluster, or None for one of this machine's own.
        on_begin: Called with the number of trials that run at once, when the cluster stands.
        on_record: Called with each record that was committed.
        stopping: Says whether to start nothing more.

    Raises:
        UserError: Trials would need several workers each, or no cluster answers.
    """
    if resources.workers > 1:
        raise UserError(
            "a search trains each trial in one process", "leave resources.workers at 1; cells of a suite may have more"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    connect(workspace, address)
    import ray

    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it tells of trials that failed, as we do

    folder = workspace / "tune" / uuid.uuid4().hex[:12]
    try:
        slots = capacity(resources)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # all processes start at once, not one after another
        on_begin(slots)
        _fit(studies, resources, ledger, root, owner, scheduler, budget, slots, folder, on_record, stopping)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        delete_states((key for key, study in studies.items() if study.ended), Artifacts(root))


def _fit(
    studies: dict[str, Study],
    resources: Resources,
    ledger: Ledger,
    root: Path,
    owner: str,
    scheduler: str,
    budget: Budget,
    slots: int,
    folder: Path,
    on_record: Callable[[Record], None],
    stopping: Callable[[], bool],
) -> None:
    from ray import tune

    from tlbench.runner.tune_scheduler import TuneScheduler
    from tlbench.runner.tune_searcher import Proposals
    from tlbench.runner.tune_trial import Jobs, run_trial

    plugin = named_scheduler(scheduler)
    settings = {key: study.problem for key, study in studies.items()}
    jobs = Jobs(str(root), resources, settings, plugin.checkpoints, budget.limits.cell_minutes)
    held: dict[str, float] = {"cpu": resources.cpus, "gpu": resources.gpus}
    trainable: Any = tune.with_resources(tune.with_parameters(run_trial, jobs=jobs), held)
    device = (float(resources.cpus), resources.gpus)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=Proposals(studies, ledger, owner, device, budget, on_record, stopping),
            scheduler=TuneScheduler(studies, plugin),
            num_samples=-1,
            max_concurrent_trials=slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="search", storage_path=str(folder), verbose=0),
    )
    tuner.fit()
