"""A cell: one method, backbone, dataset, shots and seed under one protocol, named by a hash of what decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from tlbench.core.description import DEFAULT_EXECUTION, CellDescription, Execution, Trial
from tlbench.core.hashing import canonical, digest
from tlbench.core.info import BackboneInfo, DatasetInfo, Modality, Shots, TaskInfo
from tlbench.core.label_budget import without_validation_labels
from tlbench.core.segments import Segments


@dataclass(frozen=True)
class MethodChoice:
    """A method with its parameters resolved.

    Attributes:
        name: The method's file name.
        params: All parameters, defaults filled in.
        label: For people: the name, with the teacher and the parameters that differ from the defaults.
        teacher: The trained network that the method learns from; None where it reads none.
        version: As its file declares it; raised when the same parameters come to mean something else.
    """

    name: str
    params: dict[str, Any]
    label: str
    teacher: Teacher | None = None
    version: int = 1

    @cached_property
    def key(self) -> str:
        """Canonical text of what decides the result."""
        teacher = {} if self.teacher is None else {"teacher": self.teacher.key}
        version = {} if self.version == 1 else {"version": self.version}
        return canonical({"name": self.name, "params": self.params, **teacher, **version})

    def describe(self) -> dict[str, Any]:
        """Return the parameters as they are stored with a result, the teacher's recipe among them."""
        return self.params if self.teacher is None else {**self.params, "teacher": self.teacher.describe()}


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol with its options resolved; ``version`` changes when its draws or scores change meaning.

    Attributes:
        name: The protocol's file name.
        version: As its file declares it.
        options: All options, defaults filled in; of a file of episodes the hash of its content.
        episodes_file: Path of that file; empty where there is none. No part of any id.
    """

    name: str
    version: int
    options: dict[str, Any]
    episodes_file: str = ""

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
        execution: How its pre-training runs are executed.
        group: Where the pre-training run goes with the seed of the cell, the key of the backbone with the default run,
            which the others share; else empty.
    """

    info: BackboneInfo
    key: str
    pretrain: Pretrain | None = None
    weights_file: str | None = None
    execution: Execution = DEFAULT_EXECUTION
    group: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether there is no backbone at all: :func:`no_backbone`."""
        return self.info.weights == "none"

    @property
    def artifact(self) -> str:
        """Name of the artifacts made from the recipe, weights and features; never depends on the code behind it."""
        return artifact_name(self.key, self.execution) if self.runs else self.key

    @property
    def cell_key(self) -> str:
        """What stands for it in the ids of cells; cells whose run goes with their seed have other ids."""
        return digest([self.key, self.group]) if self.group else self.key

    @property
    def runs(self) -> tuple[Pretrain, ...]:
        """The pre-training runs that make the weights, the first one first."""
        return () if self.pretrain is None else (*self.pretrain.start.runs, self.pretrain)


def no_backbone(modality: Modality) -> BackboneChoice:
    """Return what stands in the place of a backbone where a method reads inputs as they are.

    Args:
        modality: What the method reads.
    """
    recipe = {"name": "none", "family": "none", "weights": {"kind": "none"}}
    return BackboneChoice(BackboneInfo("none", "none", modality, "none", recipe), digest(recipe))


@dataclass(frozen=True)
class Teacher:
    """How a teacher is trained: a method, fitted on a backbone to the very labels that its pupil is given.

    Attributes:
        method: The method and its parameters.
        backbone: What it is fitted on.
        label: For people: the backbone and, unless it is the default one, the method.
    """

    method: MethodChoice
    backbone: BackboneChoice
    label: str

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
    """

    method: MethodChoice
    dataset: DatasetChoice
    start: BackboneChoice
    seed: int
    labels: bool = True

    @property
    def recipe(self) -> str:
        """Hash of what decides the weights, and the root of the run's randomness."""
        return digest([self.method.key, self.dataset.info.fingerprint, self.start.key, self.seed])


class Setting(NamedTuple):
    """A cell without its seed: what a row of the leaderboard aggregates."""

    protocol: ProtocolChoice
    method: MethodChoice
    backbone: BackboneChoice
    dataset: DatasetChoice
    shots: Shots

    @property
    def key(self) -> str:
        """Hash of what decides the results up to the seed and the execution."""
        return digest(self.parts)

    @property
    def parts(self) -> list[Any]:
        """What is hashed into keys and ids."""
        return [self.protocol.key, self.method.key, self.backbone.cell_key, self.dataset.info.fingerprint, self.shots]


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of a grid, or one trial of a search. ``id`` never depends on paths, machines, workers or scheduling.

    Attributes:
        id: Hash of what decides the result.
        protocol: The protocol.
        method: The method.
        backbone: The backbone.
        dataset: The dataset.
        shots: The label budget.
        seed: Decides draws and episodes.
        execution: Precision and number of processes.
        trial: The trial that this cell is, scored on validation only; None for a cell of a grid.
        winner: The trial whose values a cell of a grid has; None where nothing was searched.
    """

    id: str
    protocol: ProtocolChoice
    method: MethodChoice
    backbone: BackboneChoice
    dataset: DatasetChoice
    shots: Shots
    seed: int
    execution: Execution = DEFAULT_EXECUTION
    trial: Trial | None = None
    winner: Trial | None = None

    @property
    def random_root(self) -> str:
        """The root of all its randomness, the same whatever its execution.

        It is the id that the cell has with the default execution; for a trial that is a segment of another trial's
        training, the key of the search problem.
        """
        if self.trial is not None and self.trial.segments:
            return self.trial.setting
        if not self.execution.key or self.trial is not None:
            return self.id
        return cell_id(self.setting, self.seed, segments=self.segments)

    @property
    def setting(self) -> Setting:
        """The cell without its seed."""
        return Setting(self.protocol, self.method, self.backbone, self.dataset, self.shots)

    @property
    def segments(self) -> Segments:
        """The segments of its training; none where it is trained with its method's parameters throughout."""
        searched = self.trial or self.winner
        return () if searched is None else searched.segments

    @property
    def teacher(self) -> Cell | None:
        """The cell whose trained network this one learns from, with the same draw of labels; None without a teacher.

        That of a trial was not fitted to the labels that the trial is validated on.
        """
        if self.method.teacher is None:
            return None
        chosen = self.method.teacher
        options = self.protocol.options if self.trial is None else without_validation_labels(self.protocol.options)
        protocol = replace(self.protocol, options=options)
        setting = Setting(protocol, chosen.method, chosen.backbone, self.dataset, self.shots)
        return Cell(cell_id(setting, self.seed, execution=self.execution), *setting, self.seed, self.execution)

    def describe(self) -> CellDescription:
        """Return the facts that are stored with the result."""
        return CellDescription(
            id=self.id,
            protocol=self.protocol.name,
            protocol_version=self.protocol.version,
            options=self.protocol.options,
            method=self.method.name,
            method_label=self.method.label,
            params=self.method.describe(),
            backbone=self.backbone.info.name,
            backbone_label=self.backbone.info.label,
            weights=self.backbone.info.weights,
            backbone_key=self.backbone.key,
            backbone_group=self.backbone.group,
            recipe=self.backbone.info.recipe,
            dataset=self.dataset.info.name,
            dataset_fingerprint=self.dataset.info.fingerprint,
            shots=self.shots,
            seed=self.seed,
            precision=self.execution.precision,
            workers=self.execution.workers,
            trial=self.trial,
            winner=self.winner,
        )


def cell_id(setting: Setting, seed: int, *, segments: Segments = (), execution: Execution = DEFAULT_EXECUTION) -> str:
    """Return the content-addressed id of a cell."""
    changed = [execution.key] if execution.key else []
    return digest([*setting.parts, seed, *([segments] if segments else []), *changed], length=20)


def artifact_name(key: str, execution: Execution) -> str:
    """Return the name of the weights that pre-training runs make.

    Args:
        key: Of the backbone's recipe.
        execution: How the runs are executed.
    """
    return digest([key, execution.key]) if execution.key else key


def methods_behind(method: MethodChoice, backbone: BackboneChoice) -> tuple[str, ...]:
    """Return the names of the methods whose code decides a result: its own, those that pre-train, its teacher's."""
    names = (method.name, *(run.method.name for run in backbone.runs))
    return (
        names if method.teacher is None else (*names, *methods_behind(method.teacher.method, method.teacher.backbone))
    )


def method_mark(method: MethodChoice, backbone: BackboneChoice, mark_of: Callable[[str], str]) -> str:
    """Return the code mark of a cell without its protocol: one mark for each of :func:`methods_behind`.

    Args:
        method: The cell's method.
        backbone: The cell's backbone.
        mark_of: Returns the code mark of a method by name.
    """
    return "+".join(map(mark_of, methods_behind(method, backbone)))


def task_info(protocol: ProtocolChoice, dataset: DatasetInfo, shots: Shots) -> TaskInfo:
    """Return the facts of the task that a cell with these parts poses."""
    classes = int(protocol.options.get("ways", len(dataset.classes)))
    return TaskInfo(protocol.name, dataset, shots, classes, protocol.options)
