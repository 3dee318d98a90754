"""Fits a cell's method under its protocol: what running a cell and training a teacher have in common."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import Cell, task_info
from tlbench.core.hashing import derive_seed
from tlbench.core.record import Outcome
from tlbench.core.segments import WHOLE
from tlbench.data.dataset import Task
from tlbench.plugins import registry
from tlbench.training.context import Context
from tlbench.training.seeding import reseed
from tlbench.worker.build_once import notes_of
from tlbench.worker.paired_tokens import side_by_side
from tlbench.worker.segment_states import keep, left

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.worker.cache import WorkerCache


def attempt(
    cell: Cell,
    cache: WorkerCache,
    scratch: Path,
    rank: int,
    world: int,
    training: Callable[[], AbstractContextManager[None]] = nullcontext,
    on_epoch: Callable[[Context, int, int], None] | None = None,
) -> tuple[Outcome | None, Any]:
    """Fit and score a cell.

    A cell whose training has legs is fitted leg after leg, each time from the start of the method, which continues from
    the checkpoint that the leg before left; the last fit counts.

    Args:
        cell: The cell.
        cache: What this process keeps between cells.
        scratch: Where checkpoints are kept; the first process makes the folder where the method trains a backbone.
        rank: This process among those that train the cell together.
        world: Number of processes that train the cell together.
        training: Returns a context in which the method fits.
        on_epoch: Told (context, epochs done, epochs in all) while it does.

    Returns:
        The outcome, None in every process but the first, and what the method's ``fit`` returned.
    """
    declared = registry.declaration("methods", cell.method.name)
    method = declared.load()
    protocol = registry.declaration("protocols", cell.protocol.name).load()
    dataset = cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
    features = cache.features(cell.backbone, cell.seed, dataset)
    frozen = declared.constants.get("FROZEN_BACKBONE", False)
    backbone = (cache.backbone if frozen else cache.own_backbone)(cell.backbone, cell.seed)
    teacher = None
    if cell.method.teacher is not None:
        dataset, backbone, teacher = side_by_side(
            dataset, cache.read_by_teacher(cell), backbone, cache.own_teacher(cell)
        )
    keeps = rank == 0 and (not frozen or bool(cell.legs))
    if keeps:
        scratch.mkdir(parents=True, exist_ok=True)
    *earlier, (last, params) = left(cell, cache.artifacts, scratch)
    ctx = Context(
        cell=cell.root,
        device=cache.device,
        features=features,
        teacher=teacher,
        precision=cache.precision,
        rank=rank,
        world=world,
        folder=scratch if keeps else None,
        until=None if last == WHOLE else last,
        oracle=declared.constants.get("ORACLE", False),
        sealed=cell.trial is not None,
    )
    if on_epoch is not None:
        ctx.on_epoch = partial(on_epoch, ctx)
    fitted: list[Any] = []

    def fit(task: Task) -> Any:
        with training():
            for until, values in earlier:
                own = replace(ctx, until=until, curves={}, selected={}, validation={}, notes=[])
                reseed(derive_seed(cell.root, "global"))
                method.fit(task, copy.deepcopy(backbone), method.Config(**values), own)
            reseed(derive_seed(cell.root, "global"))
            fitted.append(method.fit(task, backbone, method.Config(**params), ctx))
        return fitted[0]

    outcome: Outcome | None = protocol.run(
        task_info(cell.protocol, cell.dataset.info, cell.shots), dataset, cell.seed, fit, ctx
    )
    if outcome is not None:
        notes = (*notes_of(cell.backbone, cache.artifacts), *dataset.notes, *outcome.notes)
        outcome = outcome.model_copy(update={"notes": notes})
    if last != WHOLE:
        keep(cell, cache.artifacts, scratch)
    return outcome, fitted[0]
