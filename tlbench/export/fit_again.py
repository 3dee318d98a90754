"""Trains the model of a cell once more, since weights are not kept with results, and makes sure that it is the same."""

from __future__ import annotations

import copy
import hashlib
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.core.cell import Cell
from tlbench.core.errors import UserError
from tlbench.core.info import TaskInfo
from tlbench.core.record import Outcome, Record
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, Task, take
from tlbench.export.calibration import Answers, answers, answers_of_folds, calibrate
from tlbench.inference.description import Calibration
from tlbench.plugins import registry
from tlbench.protocols._choosing import Fit
from tlbench.training.context import Context
from tlbench.training.frozen_features import EMBED_BATCH_SIZE, embed
from tlbench.training.predictor import FeaturePredictor, ModulePredictor
from tlbench.worker.artifact_jobs import required_artifacts
from tlbench.worker.build_artifact import build_artifact
from tlbench.worker.fit_cell import FitHooks, fit_cell
from tlbench.worker.load_inputs import load_inputs
from tlbench.worker.worker_resources import WorkerResources

Agreement = Literal["bits", "answers", "none"]
"""Whether test logits are those of the record bit for bit, or only every answer; none where nothing was compared."""

_LEFT_OUT = "no labels were held out of the fit, and test labels are not for that; --calibrate fits again to folds"


@dataclass(frozen=True)
class FittedCell:
    """The model of a cell.

    Attributes:
        fitted: What the method's ``fit`` returned; of an adaptation, with the network that the protocol selected.
        dataset: The dataset as it was read.
        context: The context of the fit.
        agreement: Whether it is the model whose results are stored.
        calibration: Of its confidence.
        labels: Number of labels that it was fitted to.
    """

    fitted: object
    dataset: Dataset
    context: Context
    agreement: Agreement
    calibration: Calibration
    labels: int


@dataclass
class _Keeping(Context):
    """A context that keeps the candidate that the protocol selects."""

    keep: Callable[[int, object], None] | None = None

    def add_candidate(self, step: int, model: Callable[[Tensor], Tensor]) -> None:
        """Offer a model to the protocol, and keep it."""
        super().add_candidate(step, model)
        if self.keep is not None:
            self.keep(step, model)


@dataclass
class _Follower:
    """Follows the fits of a cell.

    Attributes:
        record: Its result.
        refit: Whether the model is fitted to all labels there are, test labels included, in place of the protocol.
        calibrate: Whether models are fitted to folds where no labels were held out.
        held_out: Answers on validation examples, fit by fit.
        final: The answers on validation examples of the last fit; None where it had none.
        folds: Answers on folds.
        selected: The candidate that the protocol selected.
    """

    record: Record
    refit: bool
    calibrate: bool
    frozen: bool
    dataset: Dataset | None = None
    context: Context | None = None
    labels: int = 0
    held_out: list[Answers] = field(default_factory=list)
    final: Answers | None = None
    folds: list[Answers] = field(default_factory=list)
    selected: nn.Module | None = None
    _task: Task | None = None

    def keep(self, step: int, model: object) -> None:
        """Keep a candidate if it is the one that the stored result is of."""
        selected = self.record.outcome.selected if self.record.outcome else {}
        if step == selected.get("step") and isinstance(model, nn.Module):
            self.selected = copy.deepcopy(model)

    def on_fit(self, task: Task, ctx: Context, fitted: Any) -> None:
        """Note what a fit was given, and its answers on validation."""
        own = None
        if task.val is not None and task.info.protocol == "classification":
            assert self.dataset is not None
            own = answers(fitted, self.dataset, task.val.rows, ctx)
            self.held_out.append(own)
        if self.context is not None and ctx is self.context:
            self.final, self._task, self.labels = own, task, len(task.train)

    def run(
        self,
        own: Callable[..., Outcome | None],
        info: TaskInfo,
        dataset: Dataset,
        seed: int,
        fit: Fit,
        ctx: Context,
    ) -> Outcome | None:
        """Run the protocol, or fit to all labels; then fit to folds, where that is wanted."""
        self.dataset, self.context = dataset, ctx
        outcome = None
        if self.refit:
            self._fit_all(info, dataset, fit, ctx)
        else:
            outcome = own(info, dataset, seed, fit, ctx)
        task = self._task
        if task is None or info.protocol != "classification" or self.held_out:
            return outcome
        if self.calibrate or (self.frozen and (task.folds is not None or self.refit)):
            self.folds = answers_of_folds(task, dataset, fit, ctx)
        return outcome

    def calibration(self) -> Calibration:
        """Return the calibration by the answers that were noted."""
        if self.record.cell.protocol != "classification":
            return Calibration(said="not calibrated: the labels that choose are those of another domain")
        if self.final is not None:
            return calibrate([self.final], "validation examples")
        if self.held_out:
            return calibrate(self.held_out, "validation examples, by the fits that they were held out of")
        if self.folds:
            return calibrate(self.folds, "labelled examples, each by a model fitted without its fold")
        return Calibration(said=f"not calibrated: {_LEFT_OUT}")

    def _fit_all(self, info: TaskInfo, dataset: Dataset, fit: Fit, ctx: Context) -> None:
        rows = np.flatnonzero(np.isin(dataset.part, (TRAIN, VAL, TEST)))
        selected = self.record.outcome.selected if self.record.outcome else {}
        ctx.fixed = {name: value for name, value in selected.items() if isinstance(value, int | float | str)}
        fit(Task(replace(info, shots="full"), take(dataset, rows, dataset.y[rows]), None))


def fit_again(
    cell: Cell, record: Record, resources: WorkerResources, *, refit: bool = False, calibrate: bool = False
) -> FittedCell:
    """Train the model of a cell.

    Args:
        cell: A cell of a grid.
        record: Its result.
        resources: This process, and what it keeps.
        refit: Fit to all labels of the dataset, with what the cell chose.
        calibrate: Fit to folds as well where no labels were held out.

    Raises:
        UserError: The model answers otherwise than the stored one.
    """
    for job in required_artifacts(cell):
        build_artifact(job, resources)
    load_inputs(cell, resources)
    declared = registry.declaration("methods", cell.method.name)
    follower = _Follower(record, refit, calibrate, declared.constants.FROZEN_BACKBONE)
    run = partial(follower.run, registry.declaration("protocols", cell.protocol.name).load().run)
    hooks = FitHooks(partial(_Keeping, keep=follower.keep), follower.on_fit, run)
    scratch = resources.artifacts.root / "running" / f"export-{cell.id}-{uuid.uuid4().hex[:8]}"
    try:
        result = fit_cell(cell, resources, scratch, hooks=hooks)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert follower.dataset is not None
    assert follower.context is not None
    agreement: Agreement = "none" if refit else _agreement(record, result.outcome)
    fitted = result.fitted
    if follower.selected is not None and isinstance(fitted, ModulePredictor):
        fitted = ModulePredictor(follower.selected, list(follower.selected.parameters()))
    return FittedCell(fitted, follower.dataset, follower.context, agreement, follower.calibration(), follower.labels)


def _agreement(record: Record, outcome: Outcome | None) -> Agreement:
    """Return how far a model is the one whose result is stored.

    Raises:
        UserError: It answers otherwise.
    """
    assert record.outcome is not None
    assert outcome is not None
    if outcome.logits == record.outcome.logits:
        return "bits"
    if outcome.correct == record.outcome.correct:
        return "answers"
    stored, here = record.outcome.scores.get("accuracy", 0.0), outcome.scores.get("accuracy", 0.0)
    raise UserError(
        f"{record.cell.label}: trained again it is another model: accuracy {here:.4f}, stored {stored:.4f}",
        "the result comes from another machine, device, version or code: run the cell here again (tlbench run SUITE "
        f'--force "id={record.id}"), or export with --refit',
    )


def hash_of_logits(logits: Tensor) -> str:
    """Return the hash by which records tell whether logits (n, classes) agree to the last bit."""
    return hashlib.sha256(np.ascontiguousarray(logits.numpy(), dtype="<f4").tobytes()).hexdigest()[:32]


def largest_difference(fitted: FittedCell, network: nn.Module, columns: slice | None) -> float:
    """Return the largest difference between the test logits of a model and those of a network built from its tensors.

    Both are computed as the protocol computes them: in the same batches, those of classifiers of features from the
    features that cells share. It is zero where they agree bit for bit.

    Args:
        fitted: The model.
        network: The network that was built.
        columns: Which columns of token ids the network reads; None for all.
    """
    ctx, dataset = fitted.context, fitted.dataset
    network = network.to(ctx.device)
    rows = dataset.rows(TEST)
    own = fitted.fitted
    if isinstance(own, FeaturePredictor):
        some = rows[:EMBED_BATCH_SIZE]
        pairs = [
            (embed(each, dataset.x, some, ctx.device)) for each in (own.backbone, network.get_submodule("backbone"))
        ]
        with torch.no_grad():
            z = (ctx.features.take(rows) if ctx.features is not None else pairs[0]).to(ctx.device)
            heads = [own.head(z).float().cpu(), network.get_submodule("head")(z).float().cpu()]
        return max(_difference(*pairs), _difference(*heads))
    assert isinstance(own, ModulePredictor)

    @torch.no_grad()
    def rebuilt(x: Tensor) -> Tensor:
        logits: Tensor = network(x if columns is None else x[:, columns])
        return logits

    return _difference(*(embed(each, dataset.x, rows, ctx.device) for each in (own.logits, rebuilt)))


def _difference(first: Tensor, second: Tensor) -> float:
    return 0.0 if torch.equal(first, second) else float((first - second).abs().max())
