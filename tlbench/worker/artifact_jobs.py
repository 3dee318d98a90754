"""The artifacts that a cell needs before it can start, pre-trained weights and a trained teacher, as jobs.

A job is pure data: it says what is to be built, not how, and travels between processes. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tlbench.core.cell import BackboneChoice, Cell

PRETRAINED, TEACHERS = "pretrained", "teachers"  # kinds of artifacts


class ArtifactName(NamedTuple):
    """Name of a weights file among the artifacts.

    Attributes:
        kind: :data:`PRETRAINED` or :data:`TEACHERS`.
        key: Hash of what decides its content.
    """

    kind: str
    key: str


@dataclass(frozen=True)
class PretrainingJob:
    """The pre-training that gives a backbone its weights.

    Attributes:
        backbone: A backbone whose recipe names a pre-training run.
    """

    backbone: BackboneChoice

    @property
    def artifact(self) -> ArtifactName:
        """What the job builds."""
        return ArtifactName(PRETRAINED, self.backbone.artifact)

    @property
    def id(self) -> str:
        """Name of the job; the same in every process."""
        return "-".join(self.artifact)

    @property
    def label(self) -> str:
        """What people read, in the middle of a sentence."""
        seed = f" with seed {self.backbone.runs[-1].seed}" if self.backbone.group else ""
        return f"pre-training {self.backbone.info.label}{seed}"


@dataclass(frozen=True)
class TeacherJob:
    """The training of the teacher that a cell's method learns from.

    Attributes:
        student: A cell whose method has a teacher.
    """

    student: Cell

    @property
    def artifact(self) -> ArtifactName:
        """What the job builds."""
        return ArtifactName(TEACHERS, teacher_key(self.student))

    @property
    def id(self) -> str:
        """Name of the job; the same in every process."""
        return "-".join(self.artifact)

    @property
    def label(self) -> str:
        """What people read, in the middle of a sentence."""
        assert self.student.method.teacher is not None
        return f"training the teacher {self.student.method.teacher.label}"


ArtifactJob = PretrainingJob | TeacherJob
Job = Cell | ArtifactJob


def required_artifacts(job: Job) -> list[ArtifactJob]:
    """Return what must have been built before a job can start; those jobs may have requirements of their own."""
    if isinstance(job, PretrainingJob):
        return [] if job.backbone.pretrain is None else _weights_of(job.backbone.pretrain.start)
    if isinstance(job, TeacherJob):
        assert job.student.method.teacher is not None
        return _weights_of(job.student.method.teacher.backbone)
    return _weights_of(job.backbone) + ([] if job.method.teacher is None else [TeacherJob(job)])


def teacher_key(student: Cell) -> str:
    """Return the key of the artifact that holds a cell's teacher: the id of the cell that trains it.

    Raises:
        ValueError: The cell's method has no teacher.
    """
    if student.teacher is None:
        raise ValueError(f"{student.method.label} has no teacher")
    return student.teacher.id


def _weights_of(backbone: BackboneChoice) -> list[ArtifactJob]:
    return [] if backbone.pretrain is None else [PretrainingJob(backbone)]
