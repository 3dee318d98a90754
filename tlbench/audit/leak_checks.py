"""Checks one cell for leaks: fits it again on data in which only labels differ that it must not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tlbench.audit.changed_labels import (
    ChangedLabelsCache,
    LabelChange,
    permute_labels_beyond_budget,
    permute_test_labels,
    separate_artifacts,
)
from tlbench.audit.fit_traces import Trace, difference, model_trace, outcome_trace
from tlbench.audit.inductive_check import batch_dependence, declares_transductive, sample_logits
from tlbench.audit.results import (
    BATCHES,
    BEYOND_THE_BUDGET,
    CORPUS,
    RUNS,
    TARGET_LABELS,
    TEST_LABELS,
    AuditedCell,
    CheckResult,
)
from tlbench.core.cell import Cell, Pretrain
from tlbench.core.record import Outcome
from tlbench.data.dataset import SOURCE, Dataset
from tlbench.plugins import registry
from tlbench.training.context import Context
from tlbench.worker.artifact_jobs import TeacherJob, required_artifacts
from tlbench.worker.build_artifact import build_artifact
from tlbench.worker.cache import WorkerCache
from tlbench.worker.episodes import episodes_of
from tlbench.worker.fit_cell import fit_cell
from tlbench.worker.paired_tokens import join_tokens
from tlbench.worker.pretrain import corpus
from tlbench.worker.provenance import sources


@dataclass(frozen=True)
class _Fit:
    """A cell that was fitted and scored.

    Attributes:
        fitted: What the method returned.
        model: Its trace, taken at once, because later predictions may change the object.
        outcome: What the protocol found.
    """

    fitted: object
    model: Trace
    outcome: Outcome


def check_cell(cell: Cell, cache: WorkerCache) -> AuditedCell:
    """Fit a cell as it is, and with labels changed that nothing but scoring may read, and compare the fits.

    No result is written, nor any teacher or checkpoint that a cell could read later. Pre-trained weights, features and
    token ids that are missing are built from the data as they are, and stay.

    Args:
        cell: The cell.
        cache: What this process keeps between cells.
    """
    cache.artifacts.root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="audit-", dir=cache.artifacts.root) as folder:
        results = tuple(_LeakChecks(cell, cache, Path(folder)).results())
    return AuditedCell(
        id=cell.id,
        protocol=cell.protocol.name,
        method=cell.method.label,
        backbone=cell.backbone.info.label,
        dataset=cell.dataset.info.name,
        shots=cell.shots,
        seed=cell.seed,
        **sources(cell),
        checks=results,
    )


class _LeakChecks:
    """The checks of one cell.

    Args:
        cell: The cell.
        cache: What this process keeps between cells.
        folder: An empty folder, for artifacts of the fits on changed labels.
    """

    def __init__(self, cell: Cell, cache: WorkerCache, folder: Path) -> None:
        self._cell = cell
        self._cache = cache
        self._folder = folder
        self._variants = 0

    def results(self) -> Iterator[CheckResult]:
        """Yield the result of each check that the cell's protocol knows."""
        try:
            self._build_weights()
            fitted = self._plain_fit.fitted
        except Exception as error:
            yield CheckResult(check=RUNS, verdict="failed", detail=_error_line(error))
            return
        yield self._test_labels()
        dependence = batch_dependence(fitted, self._cell, self._dataset, self._context)
        if dependence:
            yield CheckResult(check=BATCHES, verdict="failed", detail=f"predictions depend on {dependence}")
        else:
            yield CheckResult(check=BATCHES, verdict="declared" if declares_transductive(fitted) else "passed")
        if not self._cell.protocol.episodic:
            yield self._hidden_labels()
        if runs := self._pretraining_on_target():
            yield self._corpus(runs)

    def _build_weights(self) -> None:
        """Build pre-trained weights that are missing, from data as they are; teachers are built with each variant."""
        for job in required_artifacts(self._cell):
            for weights in required_artifacts(job) if isinstance(job, TeacherJob) else [job]:
                build_artifact(weights, self._cache)

    def _test_labels(self) -> CheckResult:
        if self._unchanged_by(permute_test_labels):
            return CheckResult(check=TEST_LABELS, verdict="not applicable", detail="there is one class to score only")
        return self._compared(TEST_LABELS, permute_test_labels, scores=False)

    def _hidden_labels(self) -> CheckResult:
        check = TARGET_LABELS if len(self._dataset.rows(SOURCE)) else BEYOND_THE_BUDGET
        reason = ""
        if registry.declaration("methods", self._cell.method.name).constants.ORACLE:
            reason = "an oracle is given these labels, as it declares"
        elif self._cell.shots == "full":
            reason = "every training label is in the budget"
        elif self._unchanged_by(permute_labels_beyond_budget):
            reason = "no label lies beyond the budget"
        if reason:
            return CheckResult(check=check, verdict="not applicable", detail=reason)
        return self._compared(check, permute_labels_beyond_budget, scores=True)

    def _corpus(self, runs: list[Pretrain]) -> CheckResult:
        changed = self._variant(permute_test_labels)
        for run in runs:
            plain, other = (corpus(cache.dataset(run.dataset), run.labels) for cache in (self._plain_cache, changed))
            same_labels = not run.labels or np.array_equal(plain.labels, other.labels)
            if not (same_labels and np.array_equal(plain.rows, other.rows)):
                detail = f"{run.method.label} is given other examples of {run.dataset.info.name}"
                return CheckResult(check=CORPUS, verdict="failed", detail=detail)
        return CheckResult(check=CORPUS, verdict="passed")

    def _compared(self, check: str, change: LabelChange, *, scores: bool) -> CheckResult:
        """Compare the cell's fit with its fit on changed labels.

        Args:
            check: What is checked.
            change: How labels are changed.
            scores: Whether test scores must stay the same, too.
        """
        try:
            other = self._fit(self._variant(change))
        except Exception as error:
            detail = f"the cell fails on the other labels: {_error_line(error)}"
            return CheckResult(check=check, verdict="failed", detail=detail)
        changes = self._difference(other, scores)
        if not changes:
            return CheckResult(check=check, verdict="passed")
        noise = self._difference(self._fit(self._variant(None)), scores)
        hint = f"; but so it does when nothing was changed, in {noise}: not reproducible here" if noise else ""
        return CheckResult(check=check, verdict="failed", detail=f"differs in {changes}{hint}")

    def _difference(self, other: _Fit, scores: bool) -> str:
        """Return in words in what a fit differs from the plain one; nothing where it does not."""
        episodic = self._cell.protocol.episodic
        traces = [
            fit.model | outcome_trace(fit.outcome, scores=scores, predictions=not episodic)
            for fit in (self._plain_fit, other)
        ]
        if changes := difference(*traces):
            return changes
        logits = [
            sample_logits(fit.fitted, self._cell, self._dataset, self._context) for fit in (self._plain_fit, other)
        ]
        return "" if torch.equal(*logits) else "predictions"

    def _unchanged_by(self, change: LabelChange) -> bool:
        return bool(np.array_equal(change(self._cell, self._raw_dataset), self._raw_dataset.y))

    def _pretraining_on_target(self) -> list[Pretrain]:
        """Return the pre-training runs behind the cell that read the cell's own dataset."""
        teacher = self._cell.method.teacher
        runs = [*self._cell.backbone.runs, *(teacher.backbone.runs if teacher is not None else ())]
        return [run for run in runs if run.dataset.info.fingerprint == self._cell.dataset.info.fingerprint]

    @cached_property
    def _plain_fit(self) -> _Fit:
        return self._fit(self._plain_cache)

    @cached_property
    def _plain_cache(self) -> ChangedLabelsCache:
        return self._variant(None)

    @cached_property
    def _raw_dataset(self) -> Dataset:
        """The dataset as it was decoded."""
        return self._plain_cache.dataset(self._cell.dataset)

    @cached_property
    def _dataset(self) -> Dataset:
        """The dataset as the fitted method reads it."""
        cell, cache = self._cell, self._plain_cache
        dataset = cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
        if cell.method.teacher is None:
            return dataset
        backbone = cache.backbone(cell.backbone, cell.seed)
        return join_tokens(dataset, cache.read_by_teacher(cell), backbone, cache.own_teacher(cell))[0]

    @cached_property
    def _context(self) -> Context:
        cell, cache = self._cell, self._plain_cache
        dataset = cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
        features = cache.features(cell.backbone, cell.seed, dataset)
        return Context(
            random_root=cell.id,
            device=cache.device,
            features=features,
            precision=cache.precision,
            episodes=episodes_of(cell, cache.artifacts),
        )

    def _fit(self, cache: WorkerCache) -> _Fit:
        result = fit_cell(self._cell, cache, cache.artifacts.root / "running" / self._cell.id)
        assert result.outcome is not None
        return _Fit(result.fitted, model_trace(result.fitted), result.outcome)

    def _variant(self, change: LabelChange | None) -> ChangedLabelsCache:
        """Return a new cache in which labels may differ, and in which teachers and tokenisers are built anew."""
        self._variants += 1
        artifacts = separate_artifacts(self._cache.artifacts, self._folder / str(self._variants))
        return ChangedLabelsCache(artifacts, self._cache.device, self._cache.precision, self._cell, change)


def _error_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
