"""Record: the stored result of one cell. The one schema that is written, sent to MLflow and reported."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from tlbench.core.config import Settings
from tlbench.core.description import CellDescription, Trial
from tlbench.core.hashing import digest

Status = Literal["done", "failed"]
MOST_CLASSES = 1 << 16
"""Number of classes that :func:`pack_classes` can tell apart."""
_MOST_BYTES = 1 << 28  # of unpacked answers
STOPPED = "stopped_at"
"""Key of ``Outcome.selected`` under which a trial that a search ended early says at what share of its training."""


class Footprint(Settings):
    """What a fitted method costs to keep.

    Attributes:
        trainable: Number of parameters that were trained.
        total: Number of parameters of the whole predictor.
        stored_bytes: Bytes to store per task beside a backbone shared by all tasks.
    """

    trainable: int = Field(ge=0)
    total: int = Field(ge=0)
    stored_bytes: int = Field(ge=0)


class ValidationAnswers(Settings):
    """Which answers on validation were right, one by one, in an order that all trials of a search share.

    Attributes:
        count: Number of answers.
        correct: One bit an answer (see :func:`pack_bits`).
        group: Consecutive answers that belong together (queries of one episode), 1 when each is alone.
        scores: The answers' scores by the metric that the suite chose (see :func:`pack_scores`); empty, and then not
            stored, where that is accuracy.
    """

    count: int = Field(ge=1)
    correct: str
    group: int = Field(1, ge=1)
    scores: str = ""

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``scores`` where there are none, so that older records keep their digests."""
        stored: dict[str, Any] = handler(self)
        if not stored.get("scores", True):
            del stored["scores"]
        return stored


class Outcome(Settings):
    """The part of a record that is the same whenever and wherever the cell runs, bit for bit on CPU.

    Attributes:
        scores: Test scores by name, fractions in [0, 1] where they are rates: ``accuracy``, ``macro_f1``, ``nll``,
            ``ece``; in ``adaptation`` also ``accuracy_by/NAME`` of the model that each validator chose.
        validation: Scores on validation that the method selected by; empty where it had none. In ``adaptation`` also
            ``oracle_on_target``, the accuracy on the target's training examples, by which nothing is selected.
        curves: Values by epoch or step, by name (``train_loss``, ``val_accuracy``, ...): ``[[step, value], ...]``.
        selected: What was chosen on validation, e.g. ``{"C": 1.0, "epoch": 7}``.
        tests: Number of test predictions.
        correct: One bit a test prediction (see :func:`pack_bits`), in the protocol's fixed order.
        test_classes: The class of each test prediction, in the order of ``correct``, where a prediction knows its
            classes by position only, as in an episode: labels of the dataset (see :func:`pack_classes`), else empty.
        group: Consecutive test predictions that belong together (queries of one episode), 1 when each is alone.
        transductive: Whether a prediction may depend on the others of its group; such results are listed apart.
        oracle: Whether the method saw labels that the protocol keeps from all others; such results are an upper bound,
            listed apart and never ranked.
        logits: Hash of the test logits, which shows whether two runs agree to the last bit.
        footprint: What the fitted method costs to keep.
        notes: Warnings the method or the protocol raised.
        answers: Answers on validation, of trials of a search; None where there are none, and then not stored.
        example_scores: The score of each test prediction by the metric that the suite chose (see :func:`pack_scores`),
            larger is better, whose mean is the metric or minus it; empty, and then not stored, where that is accuracy.
        confusion: How often each class was taken for each (see :class:`Confusion`), packed; empty, and then not stored,
            where classes are not those of the dataset, as in an episode.
        test_answers: The test logits and labels (see :mod:`tlbench.store.answers`), which are kept beside the record
            and are no part of it; empty where they are not at hand.
    """

    scores: dict[str, float]
    validation: dict[str, float] = Field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = Field(default_factory=dict)
    selected: dict[str, Any] = Field(default_factory=dict)
    tests: int = Field(0, ge=0)
    correct: str = ""
    test_classes: str = ""
    group: int = Field(1, ge=1)
    transductive: bool = False
    oracle: bool = False
    logits: str = ""
    footprint: Footprint | None = None
    notes: tuple[str, ...] = ()
    answers: ValidationAnswers | None = None
    example_scores: str = ""
    confusion: str = ""
    test_answers: bytes = Field(b"", exclude=True, repr=False)

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older records lack where there is none of it, so that they keep their digests."""
        stored: dict[str, Any] = handler(self)
        for name in ("test_classes", "answers", "example_scores", "confusion"):
            if not stored.get(name, True):
                del stored[name]
        return stored


class Confusion(Settings):
    """How often test examples of each class were answered with each class.

    Attributes:
        classes: Names of the classes.
        counts: (class, answer, number of examples), classes by position; pairs that never occur are left out.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]

    def pack(self) -> str:
        """Return it as compressed base64 text."""
        return pack_bits(self.model_dump_json().encode())

    @classmethod
    def unpack(cls, text: str) -> Confusion:
        """Undo :meth:`pack`.

        Raises:
            ValueError: It is something else.
        """
        try:
            return cls.model_validate_json(zlib.decompress(base64.b64decode(text, validate=True)))
        except zlib.error as error:
            raise ValueError(f"not what a record holds: {error}") from error


class SharedCost(Settings):
    """What a training took whose weights several cells share. It is on no cell's own bill.

    Attributes:
        kind: ``pre-training`` or ``teacher``.
        key: Names the artifact; equal keys are one training.
        label: What was trained, in words.
        device_seconds: As in :class:`Cost`; None where it was not measured.
        device: ``CPU`` or ``GPU``.
        seconds: Wall seconds; None where they are not known.
    """

    kind: Literal["pre-training", "teacher"]
    key: str
    label: str
    device_seconds: float | None = None
    device: Literal["CPU", "GPU"] = "CPU"
    seconds: float | None = None


class Cost(Settings):
    """What the cell took. Never part of the digest.

    What is measured depends on what else the machine does, and on what other cells have left to read. What is billed
    does so as little as possible: frozen features of the examples that the cell read are billed at the measured price
    of embedding them, whoever embedded them, and what computing them took in this cell is not.

    Attributes:
        seconds: Wall seconds of the whole cell in its slot, as measured.
        train_seconds: Wall seconds inside the method's ``fit``, as measured.
        cpu_seconds: CPU-seconds over the cell, as measured, of all processes that trained it.
        peak_memory: Peak bytes: device memory on a GPU, resident memory of the process on a CPU.
        gpus: GPUs held.
        cpus: CPUs held.
        started: Start, seconds since the epoch.
        device_seconds: The bill: GPU-seconds (GPUs held, times wall seconds) where the cell held a GPU, else
            CPU-seconds. None in records made before bills were kept, and where a part of the work is not known.
        embedding_seconds: The part of the bill that is for frozen features.
        examples_embedded: Number of examples that this part is for.
        shared: Trainings whose weights the cell started or learnt from.
    """

    seconds: float
    train_seconds: float
    cpu_seconds: float
    peak_memory: int
    gpus: float
    cpus: float
    started: float
    device_seconds: float | None = None
    embedding_seconds: float | None = None
    examples_embedded: int | None = None
    shared: tuple[SharedCost, ...] = ()

    @property
    def device(self) -> Literal["CPU", "GPU"]:
        """What :attr:`device_seconds` are seconds of."""
        return "GPU" if self.gpus else "CPU"

    @property
    def billed(self) -> float:
        """The bill; of records without one, the devices held, times wall seconds."""
        held = self.seconds * (self.gpus or self.cpus)
        return held if self.device_seconds is None else self.device_seconds


class Record(Settings):
    """One cell's result.

    Attributes:
        cell: Description of the cell.
        status: ``done``, or ``failed`` with ``error``.
        outcome: What was measured; None when failed.
        cost: What it took.
        provenance: Versions, hardware, git commit, source hashes of method and protocol, attempt, host.
        error: ``{"type", "message", "traceback"}`` of a failure.
    """

    cell: CellDescription
    status: Status
    outcome: Outcome | None = None
    cost: Cost
    provenance: dict[str, Any] = Field(default_factory=dict)
    error: dict[str, str] | None = None

    @property
    def id(self) -> str:
        """The cell's id."""
        return self.cell.id

    @property
    def trial(self) -> Trial:
        """The trial of a search that it belongs to.

        Raises:
            ValueError: It is the record of a cell of a grid.
        """
        if self.cell.trial is None:
            raise ValueError(f"{self.cell.label} is no trial")
        return self.cell.trial

    @property
    def digest(self) -> str:
        """Hash of everything that must not depend on when and where the cell ran."""
        body = self.model_dump(mode="json", include={"cell", "status", "outcome"})
        if self.error is not None:
            body["error"] = {key: self.error[key] for key in ("type", "message")}
        return digest(body, length=32)


class ResultInfo(NamedTuple):
    """The facts of a cell's result: its status, and the marks of the code that it was computed with."""

    status: str
    method_source: str = ""
    protocol_source: str = ""


def pack_bits(bits: bytes) -> str:
    """Return bytes of packed bits (``numpy.packbits``) as compressed base64 text."""
    return base64.b64encode(zlib.compress(bits, 9)).decode()


def unpack_bits(text: str, tests: int) -> bytes:
    """Undo :func:`pack_bits`; read the result with ``numpy.unpackbits(..., count=tests)``.

    Args:
        text: The packed bits.
        tests: Their number; no more are unpacked.

    Raises:
        ValueError: It is something else, or not of this number.
    """
    return _unpack(text, (tests + 7) // 8)


def pack_classes(labels: Sequence[int]) -> str:
    """Return labels of classes as compressed base64 text: two bytes each, the lower first.

    Raises:
        ValueError: A label is below 0, or more than 65,535.
    """
    try:
        return pack_bits(struct.pack(f"<{len(labels)}H", *labels))
    except struct.error as error:
        raise ValueError(f"labels of classes must be from 0 to {MOST_CLASSES - 1}: {error}") from error


def unpack_classes(text: str, tests: int) -> tuple[int, ...]:
    """Undo :func:`pack_classes`.

    Args:
        text: The packed labels.
        tests: Their number; no more are unpacked.

    Raises:
        ValueError: It is something else, or not of this number.
    """
    return struct.unpack(f"<{tests}H", _unpack(text, 2 * tests))


def pack_scores(scores: bytes) -> str:
    """Return scores of examples, four bytes each (``<f4``), as compressed base64 text."""
    return pack_bits(scores)


def unpack_scores(text: str, count: int) -> bytes:
    """Undo :func:`pack_scores`; read the result with ``numpy.frombuffer(..., "<f4")``.

    Raises:
        ValueError: It is something else, or not of this number.
    """
    return _unpack(text, 4 * count)


def _unpack(text: str, size: int) -> bytes:
    if not 0 <= size <= _MOST_BYTES:
        raise ValueError(f"no record has {size} bytes of answers")
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(f"not what a record holds: {error}") from error
    if len(found) != size or not unpacking.eof:
        raise ValueError(f"a record holds {size} bytes of answers here, not these")
    return found
