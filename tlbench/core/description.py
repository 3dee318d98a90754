"""The description of a cell: the facts that identify it, as they are stored with its result and shown to people.

A description is written when a cell is run and read back from the ledger, from MLflow's artifact and in the report. Its
stored form is part of the record's digest: a field that has its default is left out, and two fields keep the names
under which they were first stored (``found`` for ``winner``, ``legs`` for ``segments``), so that results of earlier
versions keep their digests and stay readable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from tlbench.core.config import Settings
from tlbench.core.info import Shots
from tlbench.core.segments import Segment, Values

PrecisionChoice = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Execution:
    """How a cell is executed, as far as it can change a result.

    Attributes:
        precision: Of matrix products and convolutions in training; ``auto`` is bfloat16 on GPUs that have it.
        workers: Number of processes that train the cell together.
    """

    precision: PrecisionChoice = "auto"
    workers: int = 1

    @property
    def key(self) -> dict[str, Any]:
        """What differs from the defaults; part of ids, so that cells with the defaults keep theirs."""
        changed: dict[str, Any] = {} if self.precision == "auto" else {"precision": self.precision}
        return changed if self.workers == 1 else changed | {"workers": self.workers}


DEFAULT_EXECUTION = Execution()


@dataclass(frozen=True)
class Trial:
    """One configuration of a search.

    Attributes:
        setting: Key of the search problem (:class:`tlbench.search.problem.SearchProblem`).
        number: From 1 on, within the problem.
        values: Of the parameters that are searched and active.
        segments: The segments of its training up to its end, if values change on the way; those of the last segment are
            ``values``.
        parent: Number of the trial whose training it continues; None where it starts from the beginning.
        folds: Number of folds in which it is validated, and of trainings that it takes; 1 is the part that is held out.
    """

    setting: str
    number: int
    values: Values
    segments: tuple[Segment, ...] = ()
    parent: int | None = None
    folds: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        stored: dict[str, Any] = {"setting": self.setting, "number": self.number, "values": self.values}
        if self.segments:
            stored["legs"] = [[segment.until, segment.values] for segment in self.segments]
        stored |= {"parent": self.parent} if self.parent is not None else {}
        return stored | ({"folds": self.folds} if self.folds > 1 else {})

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Trial:
        """Read the stored form."""
        segments = tuple(Segment(*each) for each in stored.get("legs", ()))
        parent, folds = stored.get("parent"), stored.get("folds", 1)
        return cls(stored["setting"], stored["number"], stored["values"], segments, parent, folds)


class CellDescription(Settings):
    """The facts of a cell.

    Attributes:
        id: Of the cell.
        protocol: Name of the protocol.
        protocol_version: Its declared version.
        options: The protocol's options, defaults filled in.
        method: Name of the method.
        method_label: The method with its teacher and the parameters that differ from the defaults.
        params: The method's parameters, defaults filled in; under ``teacher`` the recipe of the teacher, if any.
        backbone: Name of the architecture.
        backbone_label: Architecture and weights.
        weights: Where the weights come from: ``random``, ``pretrain``, ``file``, or the library that publishes them.
        backbone_key: Hash of the recipe.
        backbone_group: Where the pre-training run goes with the seed, what the keys of all runs share; else empty.
        recipe: Everything that decides the function of the backbone.
        dataset: Name of the dataset.
        dataset_fingerprint: Hash of its decoded content.
        shots: Label budget.
        seed: Decides draws and episodes.
        precision: As the suite asks for it.
        workers: Number of processes that train the cell together.
        trial: The trial that this cell is; None for a cell of a grid.
        winner: The trial whose values a cell of a grid has; None where nothing was searched.
    """

    id: str
    protocol: str
    protocol_version: int
    options: dict[str, Any]
    method: str
    method_label: str
    params: dict[str, Any]
    backbone: str
    backbone_label: str
    weights: str
    backbone_key: str
    recipe: dict[str, Any]
    dataset: str
    dataset_fingerprint: str
    shots: Shots
    seed: int
    precision: PrecisionChoice = "auto"
    workers: int = 1
    backbone_group: str = ""
    trial: Trial | None = None
    winner: Trial | None = None

    @property
    def label(self) -> str:
        """The one sentence that names a cell in terminals, MLflow and reports."""
        which = "" if self.trial is None else f" | trial {self.trial.number}"
        return f"{self.setting_label} | seed {self.seed}{which}"

    @property
    def setting_label(self) -> str:
        """The same without the seed, or without the number of the trial."""
        return setting_label(self.method_label, self.backbone_label, self.dataset, self.shots)

    @model_validator(mode="before")
    @classmethod
    def _from_stored(cls, stored: Any) -> Any:
        if not isinstance(stored, dict):
            return stored
        facts = {("winner" if key == "found" else key): value for key, value in stored.items()}
        for key in ("trial", "winner"):
            if isinstance(facts.get(key), dict):
                facts[key] = Trial.from_json(facts[key])
        return facts

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stored: dict[str, Any] = handler(self)
        for key in ("precision", "workers", "backbone_group", "trial", "winner"):
            if stored[key] == type(self).model_fields[key].default:
                del stored[key]
        if self.trial is not None:
            stored["trial"] = self.trial.to_json()
        if self.winner is not None:
            del stored["winner"]
            stored["found"] = self.winner.to_json()
        return stored


def setting_label(method: str, backbone: str, dataset: str, shots: Shots) -> str:
    """Return the words for a setting: ``lora(rank=4) | resnet18/torchvision | birds | 5 shots``."""
    return f"{method} | {backbone} | {dataset} | {shots_label(shots)}"


def shots_label(shots: Shots) -> str:
    """Return ``1 shot``, ``5 shots`` or ``full``."""
    if shots == "full":
        return "full"
    return f"{shots} shot" + "s" * (shots != 1)
