"""Suite, Grid and their parts: what a suite file says, before any name in it is looked up."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator, model_validator

from tlbench.core.config import Settings
from tlbench.core.hashing import canonical
from tlbench.core.info import Shots
from tlbench.core.resources import Limits, Resources
from tlbench.core.validation import show
from tlbench.search.spec import Search
from tlbench.suite.published import Reference

MAX_SEEDS = 10_000
Name = Annotated[str, StringConstraints(min_length=1)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
_PAIR = re.compile(r"^\s*\S.*?\s->\s.*\S\s*$")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_shots(value: Any, least: int = 0) -> Shots:
    """Return a number of labelled examples a class, or ``full``.

    Raises:
        ValueError: It is neither, or fewer than ``least``.
    """
    if value == "full" or (_whole(value) and value >= least):
        return value  # type: ignore[no-any-return]
    raise ValueError(f"must be a whole number of {least} or more, or full, not {show(value)}")


def _pairs(value: Any) -> Any:
    if value in (None, "all", "leave_one_out"):
        return value
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(pair, str) and _PAIR.match(pair) for pair in value)
    ):
        return tuple(value)
    raise ValueError(f'must be all, leave_one_out, or a list like ["A -> B", "B -> A"], not {show(value)}')


def read_seeds(value: Any) -> tuple[int, ...]:
    """Return seeds: those of a list, or the first ones where their number is given.

    Raises:
        ValueError: It is neither, or lists a seed twice.
    """
    if isinstance(value, (list, tuple, range)):
        if not value or not all(_whole(seed) and 0 <= seed < 2**31 for seed in value):
            raise ValueError("must be whole numbers of 0 or more, at least one")
        if len(set(value)) < len(value):
            raise ValueError("lists a seed twice")
        return tuple(value)
    if _whole(value) and 1 <= value <= MAX_SEEDS:
        return tuple(range(value))
    raise ValueError(f"must be a number of seeds from 1 to {MAX_SEEDS}, or a list of seeds, not {show(value)}")


class Weights(Settings):
    """Where a backbone's weights come from when the suite does not pre-train them.

    Attributes:
        kind: ``random``, ``file``, or the name of a library that publishes weights, e.g. ``timm``. Which libraries
            there are is checked when the suite is loaded.
        name: Which of the library's weights; ``DEFAULT`` leaves it to the library.
        path: The file, as the suite wrote it; a relative path starts from the suite's folder.
    """

    kind: str = "random"
    name: str = ""
    path: str = ""


def read_weights(value: Any) -> Weights:
    """Return the weights that a suite asks for; a library's name alone asks for its default ones.

    Raises:
        ValueError: The value has another form.
    """
    if isinstance(value, Weights):
        return value
    if value == "random":
        return Weights()
    if isinstance(value, str) and value not in ("", "file"):
        return Weights(kind=value, name="DEFAULT")
    if isinstance(value, dict) and len(value) == 1:
        (kind, text), *_ = value.items()
        if isinstance(text, str) and text and kind == "file":
            return Weights(kind="file", path=text)
        if isinstance(text, str) and text and isinstance(kind, str) and kind not in ("", "random"):
            return Weights(kind=kind, name=text)
    raise ValueError(f"must be random, LIBRARY, {{LIBRARY: NAME}} or {{file: PATH}}, not {show(value)}")


class NamedSpec(Settings):
    """What suites may write as a name alone."""

    name: Name

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class DatasetSpec(NamedSpec):
    """A dataset source, with the parameters that open it (flat keys beside ``name`` in the file)."""

    params: dict[str, Any] = Field(default_factory=dict)
    pairs: Annotated[
        Literal["all", "leave_one_out"] | tuple[str, ...] | None,
        BeforeValidator(_pairs),
        WithJsonSchema(
            {
                "description": "pairs of its domains, each a dataset of its own for adaptation",
                "anyOf": [
                    {"enum": ["all", "leave_one_out"]},
                    {"type": "array", "items": {"pattern": _PAIR.pattern}, "minItems": 1},
                ],
            }
        ),
    ] = None

    @cached_property
    def key(self) -> str:
        """Canonical text, by which an opened dataset is found."""
        return canonical([self.name, self.params])


class PretrainSpec(Settings):
    """A pre-training run that makes a backbone's weights, from those that it starts from."""

    method: Name
    dataset: DatasetSpec
    params: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, lt=2**31)
    after: PretrainSpec | None = Field(None, description="the run that it goes on from")

    @property
    def runs(self) -> tuple[PretrainSpec, ...]:
        """The chain of runs, the first one first."""
        return (*(self.after.runs if self.after is not None else ()), self)

    def with_seed(self, seed: int) -> PretrainSpec:
        """Return the same chain of runs with another seed."""
        after = None if self.after is None else self.after.with_seed(seed)
        return PretrainSpec(method=self.method, dataset=self.dataset, params=self.params, seed=seed, after=after)


RowName = Annotated[
    str,
    StringConstraints(pattern=r"^\S([^\n\r\t]*\S)?$", max_length=60),
    Field(description="what reports call its rows"),
]


class BackboneSpec(NamedSpec):
    """An architecture with its options (flat keys beside ``name`` in the file) and where its weights come from.

    Pre-training starts from ``weights``. The ``label`` is for people, and decides nothing.
    """

    weights: Annotated[
        Weights,
        BeforeValidator(read_weights),
        WithJsonSchema({"description": "where the weights come from", "default": "random"}),
    ] = Weights()
    pretrain: PretrainSpec | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    label: RowName | None = None

    @cached_property
    def key(self) -> str:
        """Canonical text, by which a resolved backbone is found."""
        return canonical(self.model_dump(mode="json", exclude={"label"}))

    @property
    def runs(self) -> tuple[PretrainSpec, ...]:
        """The pre-training runs that make its weights, the first one first."""
        return self.pretrain.runs if self.pretrain is not None else ()

    def with_pretrain_seed(self, seed: int) -> BackboneSpec:
        """Return the same backbone, its weights made by pre-training runs with another seed."""
        pretrain = None if self.pretrain is None else self.pretrain.with_seed(seed)
        return BackboneSpec(name=self.name, weights=self.weights, pretrain=pretrain, params=self.params)


class TeacherSpec(Settings):
    """A network trained on the cell's own labels first, for a method to learn from."""

    backbone: BackboneSpec
    method: Name = "finetune"
    params: dict[str, Any] = Field(default_factory=dict)


class MethodSpec(NamedSpec):
    """A method, with the parameters that differ from its defaults and, where it reads one, its teacher.

    The ``label`` is for people, and decides nothing.
    """

    params: dict[str, Any] = Field(default_factory=dict)
    teacher: TeacherSpec | None = None
    label: RowName | None = None


ShotsField = Annotated[
    Shots,
    BeforeValidator(check_shots),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "full"}]}),
]
SeedsField = Annotated[
    tuple[int, ...],
    BeforeValidator(read_seeds),
    WithJsonSchema(
        {
            "description": "a number of seeds (n means 0 to n-1), or a list of seeds",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True},
            ],
        }
    ),
]

PretrainSeedsField = Annotated[
    tuple[int, ...] | None,
    BeforeValidator(lambda value: None if value is None else read_seeds(value)),
    WithJsonSchema(
        {
            "description": "a number of pre-training runs (n means the seeds 0 to n-1), or a list of their seeds: the "
            "cell with seed s rests on number s modulo n of them",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SEEDS},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True},
            ],
        }
    ),
]


class Grid(Settings):
    """All combinations of some methods, backbones, datasets, shots and seeds under one protocol.

    ``options`` are the protocol's own settings as the file gives them, flat beside the other keys.
    """

    protocol: Name
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    backbones: tuple[BackboneSpec, ...] = Field(description="may be empty where no method reads a backbone")
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    shots: tuple[ShotsField, ...] = Field(
        ("full",), min_length=1, description="labelled examples a class, validation included, or full"
    )
    seeds: SeedsField = (0,)
    pretrain_seeds: PretrainSeedsField = None
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("shots")
    @classmethod
    def _distinct(cls, shots: tuple[Shots, ...]) -> tuple[Shots, ...]:
        twice = [value for position, value in enumerate(shots) if value in shots[:position]]
        if twice:
            raise ValueError(f"lists {twice[0]} twice")
        return shots

    @property
    def teachers(self) -> tuple[TeacherSpec, ...]:
        """The teachers of its methods."""
        return tuple(spec.teacher for spec in self.methods if spec.teacher is not None)


class Suite(Settings):
    """A suite file: a name, a baseline, and one or more grids."""

    name: FileName
    baseline: str | None = None
    metric: str | None = Field(None, description="of all grids that name none and whose protocol takes one")
    pretrain_seeds: PretrainSeedsField = None
    grids: tuple[Grid, ...] = Field(min_length=1)
    search: Search | None = None
    resources: Resources = Resources()
    limits: Limits = Limits()
    references: tuple[Reference, ...] = Field((), description="published figures that its rows are held against")

    @property
    def datasets(self) -> dict[str, DatasetSpec]:
        """Every dataset that must be opened, targets and pre-training corpora, by key."""
        corpora = (run.dataset for spec in self.backbones.values() for run in spec.runs)
        targets = (spec for grid in self.grids for spec in grid.datasets)
        return {spec.key: spec for spec in (*targets, *corpora)}

    def pretrain_seeds_of(self, grid: Grid) -> tuple[int, ...] | None:
        """Return the seeds of a grid's pre-training runs; None where each backbone has the one that it names."""
        return self.pretrain_seeds if grid.pretrain_seeds is None else grid.pretrain_seeds

    def runs_of(self, backbone: BackboneSpec, grid: Grid) -> tuple[BackboneSpec, ...]:
        """Return a backbone of a grid with each of the pre-training runs that its cells rest on in turn."""
        seeds = self.pretrain_seeds_of(grid)
        if seeds is None or backbone.pretrain is None:
            return (backbone,)
        return tuple(backbone.with_pretrain_seed(seed) for seed in seeds)

    @property
    def backbones(self) -> dict[str, BackboneSpec]:
        """Every backbone, with each of its pre-training runs, those of teachers included, by key."""
        listed = ((backbone, grid) for grid in self.grids for backbone in grid.backbones)
        own = (spec for backbone, grid in listed for spec in (backbone, *self.runs_of(backbone, grid)))
        of_teachers = (teacher.backbone for grid in self.grids for teacher in grid.teachers)
        return {spec.key: spec for spec in (*own, *of_teachers)}
