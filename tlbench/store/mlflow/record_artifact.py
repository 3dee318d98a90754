"""What only a whole record holds: curves, right and wrong by example, tracebacks. Read from the run's artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from tlbench.core.record import Confusion, unpack_bits, unpack_classes, unpack_scores
from tlbench.store.mlflow.schema import ARTIFACT

Curve = tuple[tuple[int, float], ...]
"""Step or epoch, and the value there."""


@dataclass(frozen=True, slots=True)
class RecordDetails:
    """The part of a record that MLflow keeps as a file.

    Attributes:
        curves: Values by epoch or step, by name.
        bits: One bit a test prediction, packed as the record holds it; empty where none was stored.
        test_classes: The class of each test prediction, packed as the record holds it; empty where none was stored.
        tests: Number of test predictions.
        group: Consecutive test predictions that belong together.
        traceback: Of a failure.
        notes: Warnings that the method or the protocol raised.
        packed_scores: The score of each test prediction by the metric that the suite chose, packed as the record holds
            it; empty where that is accuracy.
        packed_confusion: How often each class was taken for each, packed as the record holds it; empty where it was not
            stored.
        logits: Hash of the test logits, by which they are found where they are kept.
    """

    curves: Mapping[str, Curve] = field(default_factory=dict)
    bits: str = ""
    tests: int = 0
    group: int = 1
    traceback: str = ""
    notes: tuple[str, ...] = ()
    test_classes: str = ""
    packed_scores: str = ""
    packed_confusion: str = ""
    logits: str = ""

    @property
    def example_scores(self) -> NDArray[np.float32] | None:
        """The score of each test prediction (tests,) by the metric that the suite chose, larger is better.

        None where that is accuracy, or where what was stored is damaged.
        """
        if not self.packed_scores:
            return None
        try:
            return np.frombuffer(unpack_scores(self.packed_scores, self.tests), dtype="<f4")
        except ValueError:
            return None

    @property
    def confusion(self) -> Confusion | None:
        """How often each class was answered with each; None where that was not stored, or is damaged."""
        if not self.packed_confusion:
            return None
        try:
            return Confusion.unpack(self.packed_confusion)
        except ValueError:
            return None

    @property
    def correct(self) -> NDArray[np.bool_] | None:
        """Whether each test prediction was right (tests,); None where that was not stored, or is damaged."""
        if not self.bits:
            return None
        try:
            packed = np.frombuffer(unpack_bits(self.bits, self.tests), dtype=np.uint8)
        except ValueError:
            return None
        return np.unpackbits(packed, count=self.tests).astype(np.bool_)

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """The class of each test prediction (tests,), a label of the dataset.

        None where a prediction's class was not stored, as in protocols whose tests are one set of examples, or where
        what was stored is damaged.
        """
        if not self.test_classes:
            return None
        try:
            return np.array(unpack_classes(self.test_classes, self.tests), np.int64)
        except ValueError:
            return None


def read_details(artifacts: str) -> RecordDetails | None:
    """Read the record in a run's folder of artifacts; None where the folder is elsewhere, or no longer there.

    Args:
        artifacts: A path or a ``file:`` address; what lies on servers is not asked for.
    """
    parts = urlsplit(artifacts)
    if not artifacts or parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path) if parts.scheme else artifacts)
    try:
        return parse_details((folder / ARTIFACT).read_bytes())
    except OSError:
        return None


def parse_details(record: bytes) -> RecordDetails | None:
    """Return the details of a record in its stored form; None where the text is no record."""
    try:
        body = json.loads(record)
        outcome, error = body["outcome"] or {}, body["error"] or {}
        return RecordDetails(
            curves={
                str(name): tuple((int(step), float(value)) for step, value in curve)
                for name, curve in outcome.get("curves", {}).items()
            },
            bits=str(outcome.get("correct", "")),
            tests=int(outcome.get("tests", 0)),
            group=int(outcome.get("group", 1)),
            traceback=str(error.get("traceback", "")),
            notes=tuple(map(str, outcome.get("notes", ()))),
            test_classes=str(outcome.get("test_classes", "")),
            packed_scores=str(outcome.get("example_scores", "")),
            packed_confusion=str(outcome.get("confusion", "")),
            logits=str(outcome.get("logits", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
