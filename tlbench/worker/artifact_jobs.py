"""What must be made before a cell can start: pre-trained weights, a trained teacher. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import BackboneChoice, Cell, method_source
from tlbench.core.hashing import digest

if TYPE_CHECKING:
    from tlbench.worker.cache import WorkerCache

PRETRAINED, TEACHERS = "pretrained", "teachers"  # kinds of artifacts


@dataclass(frozen=True)
class MakeWeights:
    """Make a pre-trained backbone's weights."""

    choice: BackboneChoice

    @property
    def at(self) -> tuple[str, str]:
        """Kind and name of the artifact."""
        return PRETRAINED, self.choice.artifact

    @property
    def id(self) -> str:
        """Name of the job."""
        return "-".join(self.at)

    @property
    def what(self) -> str:
        """What to call it in a sentence."""
        return f"pre-training {self.choice.info.label}"

    def do(self, cache: WorkerCache) -> Any:
        """Make the weights, or find them made."""
        return cache.backbone(self.choice, 0)


@dataclass(frozen=True)
class MakeTeacher:
    """Train the teacher that a cell learns from."""

    pupil: Cell

    @property
    def at(self) -> tuple[str, str]:
        """Kind and name of the artifact."""
        return TEACHERS, teacher_artifact(self.pupil)

    @property
    def id(self) -> str:
        """Name of the job."""
        return "-".join(self.at)

    @property
    def what(self) -> str:
        """What to call it in a sentence."""
        assert self.pupil.method.teacher is not None
        return f"training the teacher {self.pupil.method.teacher.label}"

    def do(self, cache: WorkerCache) -> Any:
        """Train the teacher, or find it trained."""
        return cache.teacher(self.pupil)


Make = MakeWeights | MakeTeacher
Job = Cell | Make


def needs(job: Job) -> list[Make]:
    """Return what must be made before a job can start; that may itself need other things."""
    if isinstance(job, MakeWeights):
        return [] if job.choice.pretrain is None else _weights(job.choice.pretrain.start)
    if isinstance(job, MakeTeacher):
        assert job.pupil.method.teacher is not None
        return _weights(job.pupil.method.teacher.backbone)
    return _weights(job.backbone) + ([] if job.method.teacher is None else [MakeTeacher(job)])


def teacher_artifact(pupil: Cell) -> str:
    """Return the name of what today's code makes of a cell's teacher."""
    taught, cell = pupil.method.teacher, pupil.teacher
    assert taught is not None
    assert cell is not None
    return digest([cell.id, method_source(taught.source, taught.method, taught.backbone)])


def _weights(choice: BackboneChoice) -> list[Make]:
    return [] if choice.pretrain is None else [MakeWeights(choice)]
