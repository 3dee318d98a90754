"""Does an artifact job in this process: builds the weights file, or finds it built."""

from __future__ import annotations

from typing import assert_never

from tlbench.worker.artifact_jobs import ArtifactJob, PretrainingJob, TeacherJob
from tlbench.worker.worker_resources import WorkerResources


def build_artifact(job: ArtifactJob, resources: WorkerResources) -> None:
    """Build what a job names, with all that it requires, unless this machine has it; the network is then in memory.

    Args:
        job: What to build.
        resources: The process that builds it; where it belongs to a group, all processes of the group call this.

    Raises:
        Exception: What the method that trains the network raises.
    """
    if isinstance(job, PretrainingJob):
        resources.backbone(job.backbone, 0)
    elif isinstance(job, TeacherJob):
        resources.teacher(job.student)
    else:
        assert_never(job)
