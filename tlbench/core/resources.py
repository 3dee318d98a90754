"""What a cell holds while it runs, and the limits of what a suite may use."""

from __future__ import annotations

from pydantic import Field, field_validator

from tlbench.core.config import Settings
from tlbench.core.description import Execution, PrecisionChoice


class Resources(Settings):
    """What one cell holds while it runs."""

    cpus: int = Field(1, ge=1, description="CPUs of each worker")
    gpus: float = Field(0, ge=0, description="GPUs of each worker; below 1 is a share")
    workers: int = Field(1, ge=1, description="processes that train one cell together")
    precision: PrecisionChoice = Field(
        "auto", description="of matrix products and convolutions in training; auto is bfloat16 on GPUs that have it"
    )

    @property
    def execution(self) -> Execution:
        """What of it can change a result."""
        return Execution(self.precision, self.workers)

    @field_validator("gpus")
    @classmethod
    def _share_or_whole(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"must be a share up to 1 or a whole number, not {gpus:g}")
        return gpus


class Limits(Settings):
    """Hard caps; None is no cap."""

    gpu_hours: float | None = Field(None, gt=0, description="GPU-hours of the whole suite; no cell starts beyond")
    cpu_hours: float | None = Field(None, gt=0, description="CPU-hours of the whole suite; no cell starts beyond")
    cell_minutes: float | None = Field(None, gt=0, description="minutes after which a cell is stopped as failed")
