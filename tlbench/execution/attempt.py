"""Fits a cell's method under its protocol: what running a cell and training a teacher have in common."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core import registry
from tlbench.core.cell import Cell, task_info
from tlbench.core.hashing import derive_seed
from tlbench.core.record import Outcome
from tlbench.data.dataset import Task
from tlbench.execution.columns import side_by_side
from tlbench.training.context import Context
from tlbench.training.randomness import reseed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.execution.warm import Warm


def attempt(
    cell: Cell,
    warm: Warm,
    scratch: Path,
    rank: int,
    world: int,
    training: Callable[[], AbstractContextManager[None]] = nullcontext,
    on_epoch: Callable[[Context, int, int], None] | None = None,
) -> tuple[Outcome | None, Any]:
    """Fit and score a cell.

    Args:
        cell: The cell.
        warm: Shared pieces of this process.
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
    dataset = warm.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
    features = warm.features(cell.backbone, cell.seed, dataset)
    frozen = declared.constants.get("FROZEN_BACKBONE", False)
    backbone = (warm.backbone if frozen else warm.own_backbone)(cell.backbone, cell.seed)
    teacher = None
    if cell.method.teacher is not None:
        dataset, backbone, teacher = side_by_side(dataset, warm.read_by_teacher(cell), backbone, warm.own_teacher(cell))
    keeps = not frozen and rank == 0
    if keeps:
        scratch.mkdir(parents=True, exist_ok=True)
    ctx = Context(
        cell=cell.id,
        device=warm.device,
        features=features,
        teacher=teacher,
        precision=warm.precision,
        rank=rank,
        world=world,
        folder=scratch if keeps else None,
        oracle=declared.constants.get("ORACLE", False),
        sealed=cell.trial is not None,
    )
    if on_epoch is not None:
        ctx.on_epoch = partial(on_epoch, ctx)
    config = method.Config(**cell.method.params)
    reseed(derive_seed(cell.id, "global"))
    fitted: list[Any] = []

    def fit(task: Task) -> Any:
        with training():
            fitted.append(method.fit(task, backbone, config, ctx))
        return fitted[0]

    outcome: Outcome | None = protocol.run(
        task_info(cell.protocol, cell.dataset.info, cell.shots), dataset, cell.seed, fit, ctx
    )
    return outcome, fitted[0]
