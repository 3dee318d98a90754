"""Results of an audit: the checks of each cell, and which test examples resemble training examples."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field

from tlbench.core.config import Settings
from tlbench.core.description import setting_label
from tlbench.core.info import Shots

Verdict = Literal["passed", "failed", "declared", "not applicable"]

RUNS = "run"
TEST_LABELS = "test labels"
BATCHES = "batches"
TARGET_LABELS = "target labels"
BEYOND_THE_BUDGET = "labels beyond the budget"
CORPUS = "pre-training corpus"

CHECKS = {
    RUNS: "the cell runs to its end, and its protocol accepts what the method returns; listed only where it fails",
    TEST_LABELS: "with permuted test labels: the same model, validation, curves, choices and predictions, bit for bit",
    BATCHES: "with test examples in another order, number and company: the same predictions, up to rounding",
    TARGET_LABELS: "with permuted labels of the target's training examples: the same in everything, bit for bit",
    BEYOND_THE_BUDGET: "with other labels of all examples beyond the shots: the same in everything, bit for bit",
    CORPUS: "with permuted test labels: pre-training on the same data is given the same examples and labels",
}


class CheckResult(Settings):
    """The result of one check on one cell.

    Attributes:
        check: One of :data:`CHECKS`.
        verdict: ``declared`` where the method itself says that the check cannot hold, as a transductive one does.
        detail: What differed, or why the check does not apply; empty where it passed.
    """

    check: str
    verdict: Verdict
    detail: str = ""


class AuditedCell(Settings):
    """A cell with the results of its checks.

    Attributes:
        id: Id of the cell.
        protocol: Name of the protocol.
        method: Label of the method.
        backbone: Label of the backbone.
        dataset: Name of the dataset.
        shots: Label budget.
        seed: Seed.
        method_source: Mark of the method's code, as in a record's provenance.
        protocol_source: Mark of the protocol's code.
        checks: What was checked; ``proofs`` in files of earlier versions.
    """

    id: str
    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: Shots
    seed: int
    method_source: str
    protocol_source: str
    checks: tuple[CheckResult, ...] = Field(validation_alias=AliasChoices("checks", "proofs"))

    @property
    def label(self) -> str:
        """For people."""
        return f"{setting_label(self.method, self.backbone, self.dataset, self.shots)} | seed {self.seed}"

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.verdict != "failed" for result in self.checks)


class Pair(Settings):
    """A test example and the training example that it resembles most.

    Attributes:
        test_row: Row in the tested dataset.
        row: Row in the other one.
        distance: 0 for an exact copy; else 1 - correlation of images, 1 - share of common pieces of texts.
        test_class: Name of its class.
        row_class: Name of the other's class.
        test_text: The text, cut where it is long; empty for images.
        text: The other's.
    """

    test_row: int
    row: int
    distance: float
    test_class: str
    row_class: str
    test_text: str = ""
    text: str = ""


class Overlap(Settings):
    """The test examples of a dataset, compared with examples that something was trained on.

    Attributes:
        test: What is tested, in words.
        tests: Number of its examples.
        against: What was trained on, in words.
        trained: Number of its examples.
        exact: Test examples that have an exact copy there.
        near: Further test examples that have a near copy there.
        same_class: Of both, those whose copy is of a class of the same name.
        expected: Share of the training examples that have a copy among the other training examples: how alike such
            examples are anyway.
        measure: How near copies are defined.
        pairs: Some of them, the nearest first.
    """

    test: str
    tests: int = Field(ge=0)
    against: str
    trained: int = Field(ge=0)
    exact: int = Field(ge=0)
    near: int = Field(ge=0)
    same_class: int = Field(ge=0)
    expected: float = Field(ge=0, le=1)
    measure: str
    pairs: tuple[Pair, ...] = ()

    @property
    def share(self) -> float:
        """Share of the test examples that have a copy."""
        return (self.exact + self.near) / self.tests if self.tests else 0.0


class Audit(Settings):
    """An audit of a suite.

    Attributes:
        suite: Name.
        finished: When, seconds since the epoch.
        version: Of tlbench.
        commit: Of tlbench, or empty.
        device: Device type that cells were fitted on.
        planned: Number of cells of the suite.
        cells: Those that were audited.
        overlaps: Test data against training and pre-training data.
        unknown_corpora: Labels of backbones whose weights were trained elsewhere, on data that cannot be compared;
            ``unseen`` in files of earlier versions.
    """

    suite: str
    finished: float
    version: str
    commit: str
    device: str
    planned: int
    cells: tuple[AuditedCell, ...]
    overlaps: tuple[Overlap, ...]
    unknown_corpora: tuple[str, ...] = Field((), validation_alias=AliasChoices("unknown_corpora", "unseen"))

    @property
    def passed(self) -> bool:
        """Whether no check failed on any cell."""
        return all(cell.passed for cell in self.cells)

    @property
    def summary(self) -> str:
        """How many cells were audited and how many failed, in a line."""
        failed = sum(not cell.passed for cell in self.cells)
        cells = f"{self.planned} cell" + "s" * (self.planned != 1)
        return f"audited: {len(self.cells)} of {cells}, {f'{failed} failed' if failed else 'all passed'}"
