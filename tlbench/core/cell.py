"""A cell: one method, backbone, dataset, shots and seed under one protocol, named by a hash of what decides it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tlbench.core.hashing import canonical, digest
from tlbench.core.info import BackboneInfo, DatasetInfo, Shots, TaskInfo
from tlbench.core.segments import Legs


@dataclass(frozen=True)
class MethodChoice:
    """A method with its parameters resolved.

    Attributes:
        name: The method's file name.
        params: All parameters, defaults filled in.
        label: What people read: the name, with the teacher and the parameters that differ from the defaults.
        teacher: The trained network that the method learns from; None where it reads none.
    """

    name: str
    params: dict[str, Any]
    label: str
    teacher: Teacher | None = None

    @cached_property
    def key(self) -> str:
        """Canonical text of what decides the result."""
        taught = {} if self.teacher is None else {"teacher": self.teacher.key}
        return canonical({"name": self.name, "params": self.params, **taught})

    def describe(self) -> dict[str, Any]:
        """Return the parameters as they are stored with a result, the teacher's recipe among them."""
        return self.params if self.teacher is None else {**self.params, "teacher": self.teacher.describe()}


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol with its options resolved; ``version`` changes when its draws or scores change meaning."""

    name: str
    version: int
    options: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Canonical text of what decides the result."""
        return canonical({"name": self.name, "version": self.version, "options": self.options})

    @property
    def episodic(self) -> bool:
        """Whether it poses episodes, whose test classes are kept apart from all training."""
        return "ways" in self.options


@dataclass(frozen=True)
class DatasetChoice:
    """A dataset as the suite asks for it (``name`` and ``params`` open it) and the facts found when it was opened."""

    name: str
    params: dict[str, Any]
    info: DatasetInfo


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone with its recipe resolved, and the pre-training run that makes its weights, if any.

    Attributes:
        info: Facts and recipe.
        key: Hash of the recipe.
        pretrain: How to make the weights (``method``, ``params``, ``dataset``, ``seed``, and what it starts from) when
            the recipe names a pre-training run; None otherwise. All of it is also part of the recipe, datasets by
            fingerprint.
        weights_file: The user's weights file where the recipe has weights of kind ``file``; the recipe itself holds
            the hash of its content.
    """

    info: BackboneInfo
    key: str
    pretrain: Pretrain | None = None
    weights_file: str | None = None

    @property
    def artifact(self) -> str:
        """Name of what is made from the recipe by today's code: weights and features."""
        return digest([self.key, *(run.source for run in self.runs)]) if self.runs else self.key

    @property
    def runs(self) -> tuple[Pretrain, ...]:
        """The pre-training runs that make the weights, the first one first."""
        return () if self.pretrain is None else (*self.pretrain.start.runs, self.pretrain)


@dataclass(frozen=True)
class Teacher:
    """How a teacher is trained: a method, fitted on a backbone to the very labels that its pupil is given.

    Attributes:
        method: The method and its parameters.
        backbone: What it is fitted on.
        label: What people read: the backbone and, unless it is the usual one, the method.
        source: Mark of the method's code; not part of any id.
    """

    method: MethodChoice
    backbone: BackboneChoice
    label: str
    source: str = ""

    @cached_property
    def key(self) -> str:
        """Hash of what decides the trained network, up to data and seed."""
        return digest([self.method.key, self.backbone.key])

    def describe(self) -> dict[str, Any]:
        """Return its recipe as it is stored with a result."""
        return {"method": self.method.name, "params": self.method.params, "backbone": self.backbone.info.recipe}


@dataclass(frozen=True)
class Pretrain:
    """A pre-training run: method and parameters, corpus, the starting backbone, and its seed.

    Attributes:
        labels: Whether the method reads the corpus's labels.
        source: Hash of the method's source file, and of no other: see
            :mod:`tlbench.plugins.code_mark`. Not part of any id.
    """

    method: MethodChoice
    dataset: DatasetChoice
    start: BackboneChoice
    seed: int
    labels: bool = True
    source: str = ""

    @property
    def recipe(self) -> str:
        """Hash of what decides the weights whatever the code, and so the root of the run's randomness."""
        return digest([self.method.key, self.dataset.info.fingerprint, self.start.key, self.seed])


@dataclass(frozen=True)
class Trial:
    """One configuration of a search.

    Attributes:
        setting: Key of what is searched (:class:`tlbench.search.problem.Setting`).
        number: From 1 on, within the setting.
        values: Of the parameters that are searched and count.
        legs: How the training came to these values, which are those of the last leg; none where they hold throughout.
        parent: The trial that this one goes on from; None where it starts from the beginning.
    """

    setting: str
    number: int
    values: dict[str, Any]
    legs: Legs = ()
    parent: int | None = None

    def describe(self) -> dict[str, Any]:
        """Return it as it is stored with a result."""
        told = {"setting": self.setting, "number": self.number, "values": self.values}
        if self.legs:
            told |= {"legs": [list(leg) for leg in self.legs]}
        return told if self.parent is None else told | {"parent": self.parent}


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of a grid, or one trial of a search. ``id`` never depends on paths, machines, slots or scheduling.

    Attributes:
        id: Hash of what decides the result.
        protocol: The protocol.
        method: The method.
        backbone: The backbone.
        dataset: The dataset.
        shots: The label budget.
        seed: Decides draws and episodes.
        trial: The trial that this is, scored on validation only; None for a cell of a grid.
        found: The trial whose values a cell of a grid has; None where nothing was searched.
    """

    id: str
    protocol: ProtocolChoice
    method: MethodChoice
    backbone: BackboneChoice
    dataset: DatasetChoice
    shots: Shots
    seed: int
    trial: Trial | None = None
    found: Trial | None = None

    @property
    def root(self) -> str:
        """What all its randomness comes from: its id; the setting, where trials are legs of one another's trainings."""
        return self.trial.setting if self.trial is not None and self.trial.legs else self.id

    @property
    def legs(self) -> Legs:
        """The legs of its training; none where it is trained with its method's parameters throughout."""
        searched = self.trial or self.found
        return () if searched is None else searched.legs

    @property
    def teacher(self) -> Cell | None:
        """The cell whose trained network this one learns from, with the same draw of labels; None without a teacher."""
        if self.method.teacher is None:
            return None
        chosen = self.method.teacher
        parts = (self.protocol, chosen.method, chosen.backbone, self.dataset, self.shots, self.seed)
        return Cell(cell_id(*parts), *parts)

    def describe(self) -> dict[str, Any]:
        """Return the JSON-like facts that are stored with the result."""
        return {
            "id": self.id,
            "protocol": self.protocol.name,
            "protocol_version": self.protocol.version,
            "options": self.protocol.options,
            "method": self.method.name,
            "method_label": self.method.label,
            "params": self.method.describe(),
            "backbone": self.backbone.info.name,
            "backbone_label": self.backbone.info.label,
            "weights": self.backbone.info.weights,
            "backbone_key": self.backbone.key,
            "recipe": self.backbone.info.recipe,
            "dataset": self.dataset.info.name,
            "dataset_fingerprint": self.dataset.info.fingerprint,
            "shots": self.shots,
            "seed": self.seed,
            **({"trial": self.trial.describe()} if self.trial is not None else {}),
            **({"found": self.found.describe()} if self.found is not None else {}),
        }


def cell_id(
    protocol: ProtocolChoice,
    method: MethodChoice,
    backbone: BackboneChoice,
    dataset: DatasetChoice,
    shots: Shots,
    seed: int,
    legs: Legs = (),
) -> str:
    """Return the content-addressed id of a cell."""
    parts = [protocol.key, method.key, backbone.key, dataset.info.fingerprint, shots, seed]
    return digest([*parts, *([legs] if legs else [])], length=20)


def method_source(source: str, method: MethodChoice, backbone: BackboneChoice) -> str:
    """Return the mark of the code behind a cell.

    Args:
        source: Mark of the cell's method; those of its backbone's pre-training, and of its teacher, are added.
        method: The method.
        backbone: The backbone.
    """
    marks = [source, *(run.source for run in backbone.runs)]
    if method.teacher is not None:
        marks.append(method_source(method.teacher.source, method.teacher.method, method.teacher.backbone))
    return "+".join(marks)


def task_info(protocol: ProtocolChoice, dataset: DatasetInfo, shots: Shots) -> TaskInfo:
    """Return the facts of the task that a cell with these parts poses."""
    classes = int(protocol.options.get("ways", len(dataset.classes)))
    return TaskInfo(protocol.name, dataset, shots, classes, protocol.options)
