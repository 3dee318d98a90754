"""Proves the leak checks on one cell: fits it again on data in which only labels differ that it must not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlbench.audit.fit_traces import Trace, difference, model_trace, outcome_trace
from tlbench.audit.inductive_check import answers, declares, dependence
from tlbench.audit.results import (
    BATCHES,
    BEYOND_THE_BUDGET,
    CORPUS,
    RUNS,
    TARGET_LABELS,
    TEST_LABELS,
    AuditedCell,
    Proof,
)
from tlbench.audit.tampered_data import Tamper, TamperedCache, lend, relabel_beyond_budget, scramble_tests
from tlbench.core.cell import Cell, Pretrain
from tlbench.core.record import Outcome
from tlbench.data.dataset import SOURCE, Dataset
from tlbench.plugins import registry
from tlbench.training.context import Context
from tlbench.worker.artifact_jobs import TeacherJob, required_artifacts
from tlbench.worker.build_artifact import build_artifact
from tlbench.worker.fit_cell import fit_cell
from tlbench.worker.paired_tokens import join_tokens
from tlbench.worker.pretrain import corpus
from tlbench.worker.provenance import sources

if TYPE_CHECKING:
    from tlbench.worker.cache import WorkerCache


@dataclass(frozen=True)
class _Fit:
    """A cell that was fitted and scored: what the method returned, its trace then, and what the protocol said."""

    fitted: Any
    model: Trace
    outcome: Outcome


def prove(cell: Cell, cache: WorkerCache) -> AuditedCell:
    """Fit a cell as it is and with labels changed that nothing but scoring may read, and compare.

    No result is written, nor any teacher or checkpoint that a cell could find; what is missing of pre-trained weights,
    features and tokens is made from data as they are, and kept.

    Args:
        cell: The cell.
        cache: What this process keeps between cells.
    """
    cache.artifacts.root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="audit-", dir=cache.artifacts.root) as folder:
        proofs = tuple(_Proofs(cell, cache, Path(folder)).all())
    facts = cell.describe()
    return AuditedCell(
        id=cell.id,
        protocol=cell.protocol.name,
        method=facts.method_label,
        backbone=facts.backbone_label,
        dataset=facts.dataset,
        shots=cell.shots,
        seed=cell.seed,
        **sources(cell),
        proofs=proofs,
    )


class _Proofs:
    """The checks of one cell.

    Args:
        cell: The cell.
        cache: What this process keeps between cells.
        folder: An empty folder of its own.
    """

    def __init__(self, cell: Cell, cache: WorkerCache, folder: Path) -> None:
        self._cell = cell
        self._cache = cache
        self._folder = folder
        self._worlds = 0

    def all(self) -> Iterator[Proof]:
        """Yield what came of each check that the cell's protocol knows."""
        try:
            self._make_weights()
            fitted = self._plain.fitted
        except Exception as error:
            yield Proof(check=RUNS, verdict="failed", detail=_said(error))
            return
        yield self._test_labels()
        found = dependence(fitted, self._cell, self._dataset, self._context)
        if found:
            yield Proof(check=BATCHES, verdict="failed", detail=f"predictions depend on {found}")
        else:
            yield Proof(check=BATCHES, verdict="declared" if declares(fitted) else "passed")
        if not self._cell.protocol.episodic:
            yield self._hidden_labels()
        if runs := self._runs_on_the_target():
            yield self._corpus(runs)

    def _make_weights(self) -> None:
        """Make what is missing of pre-trained weights, from data as they are."""
        for make in required_artifacts(self._cell):
            for each in required_artifacts(make) if isinstance(make, TeacherJob) else [make]:
                build_artifact(each, self._cache)

    def _test_labels(self) -> Proof:
        if self._unchanged_by(scramble_tests):
            return Proof(check=TEST_LABELS, verdict="not applicable", detail="there is one class to score only")
        return self._compared(TEST_LABELS, scramble_tests, scores=False)

    def _hidden_labels(self) -> Proof:
        check = TARGET_LABELS if len(self._dataset.rows(SOURCE)) else BEYOND_THE_BUDGET
        why = ""
        if registry.declaration("methods", self._cell.method.name).constants.get("ORACLE", False):
            why = "an oracle is given these labels, as it declares"
        elif self._cell.shots == "full":
            why = "every training label is in the budget"
        elif self._unchanged_by(relabel_beyond_budget):
            why = "no label lies beyond the budget"
        if why:
            return Proof(check=check, verdict="not applicable", detail=why)
        return self._compared(check, relabel_beyond_budget, scores=True)

    def _corpus(self, runs: list[Pretrain]) -> Proof:
        other = self._world(scramble_tests)
        for run in runs:
            plain, tampered = (corpus(cache.dataset(run.dataset), run.labels) for cache in (self._untouched, other))
            alike = not run.labels or np.array_equal(plain.labels, tampered.labels)
            if not (alike and np.array_equal(plain.rows, tampered.rows)):
                told = f"{run.method.label} is given other examples of {run.dataset.info.name}"
                return Proof(check=CORPUS, verdict="failed", detail=told)
        return Proof(check=CORPUS, verdict="passed")

    def _compared(self, check: str, tamper: Tamper, *, scores: bool) -> Proof:
        """Compare the cell with itself on tampered data.

        Args:
            check: What is checked.
            tamper: How the data are tampered with.
            scores: Whether test scores may not change either.
        """
        try:
            other = self._fit(self._world(tamper))
        except Exception as error:
            return Proof(check=check, verdict="failed", detail=f"the cell fails on the other labels: {_said(error)}")
        found = self._difference(other, scores)
        if not found:
            return Proof(check=check, verdict="passed")
        noise = self._difference(self._fit(self._world(None)), scores)
        told = f"; but so it does when nothing was changed, in {noise}: not reproducible here" if noise else ""
        return Proof(check=check, verdict="failed", detail=f"differs in {found}{told}")

    def _difference(self, other: _Fit, scores: bool) -> str:
        episodic = self._cell.protocol.episodic
        traces = [
            fit.model | outcome_trace(fit.outcome, scores=scores, predictions=not episodic)
            for fit in (self._plain, other)
        ]
        if found := difference(*traces):
            return found
        asked = [answers(fit.fitted, self._cell, self._dataset, self._context) for fit in (self._plain, other)]
        return "" if torch.equal(*asked) else "predictions"

    def _unchanged_by(self, tamper: Tamper) -> bool:
        return bool(np.array_equal(tamper(self._cell, self._raw), self._raw.y))

    def _runs_on_the_target(self) -> list[Pretrain]:
        taught = self._cell.method.teacher
        runs = [*self._cell.backbone.runs, *(taught.backbone.runs if taught is not None else ())]
        return [run for run in runs if run.dataset.info.fingerprint == self._cell.dataset.info.fingerprint]

    @cached_property
    def _plain(self) -> _Fit:
        return self._fit(self._untouched)

    @cached_property
    def _untouched(self) -> TamperedCache:
        return self._world(None)

    @cached_property
    def _raw(self) -> Dataset:
        """The dataset as it is."""
        return self._untouched.dataset(self._cell.dataset)

    @cached_property
    def _dataset(self) -> Dataset:
        """The dataset as the fitted method reads it."""
        cell, cache = self._cell, self._untouched
        dataset = cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
        if cell.method.teacher is None:
            return dataset
        taught, backbone = cache.read_by_teacher(cell), cache.backbone(cell.backbone, cell.seed)
        return join_tokens(dataset, taught, backbone, cache.own_teacher(cell))[0]

    @cached_property
    def _context(self) -> Context:
        cell, cache = self._cell, self._untouched
        dataset = cache.read(cell.dataset, cell.backbone, episodic=cell.protocol.episodic)
        features = cache.features(cell.backbone, cell.seed, dataset)
        return Context(cell=cell.id, device=cache.device, features=features, precision=cache.precision)

    def _fit(self, cache: WorkerCache) -> _Fit:
        result = fit_cell(self._cell, cache, cache.artifacts.root / "running" / self._cell.id)
        assert result.outcome is not None
        return _Fit(result.fitted, model_trace(result.fitted), result.outcome)

    def _world(self, tamper: Tamper | None) -> TamperedCache:
        """Return shared pieces of a world where labels may differ, and teachers and tokenisers are made anew."""
        self._worlds += 1
        own = lend(self._cache.artifacts, self._folder / str(self._worlds))
        return TamperedCache(own, self._cache.device, self._cache.precision, self._cell, tamper)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
