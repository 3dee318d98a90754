"""The one record of a job whose process ended before it did."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.worker.artifact_jobs import Job


class WorkerDeathError(RuntimeError):
    """The process, or a process of the group, that ran a job ended before the job did."""


@dataclass(frozen=True)
class Death:
    """The process that ran a job ended before the job did.

    Attributes:
        job: The cell, trial or artifact job that it ran.
        seconds: How long the job had run in this process.
        reason: Why the process ended, as far as that is known; empty where it is not.
        overrun: Whether it was ended on purpose, because the job had taken longer than a cell may.
    """

    job: Job
    seconds: float
    reason: str = ""
    overrun: bool = False
