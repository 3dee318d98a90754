"""One slot: a long-lived Ray actor that keeps shared pieces warm and runs cells, each under Ray Train."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import BackboneChoice, Cell
from tlbench.core.suite import Resources

if TYPE_CHECKING:
    from tlbench.core.record import Record
    from tlbench.execution.warm import Warm


@dataclass(frozen=True)
class Place:
    """Where a slot lives.

    Attributes:
        node: Ray's id of the machine.
        pid: The process.
        store: Identity of the artifact folder it sees; slots with the same one share files.
        gpu: Name of its GPU, or empty.
    """

    node: str
    pid: int
    store: str
    gpu: str


class Slot:
    """The actor. Every training in it is a Ray Train run: in-process for one worker, a worker group for several.

    Args:
        root: The artifact folder; the environment variable ``TLBENCH_ARTIFACTS`` of the node goes before it.
        resources: CPUs, GPUs and workers of a cell.
        facts: Provenance that the driver knows.
    """

    def __init__(self, root: str, resources: Resources, facts: dict[str, Any]) -> None:
        threads = max(1, int(resources.cpus))
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
        import torch

        from tlbench.execution.warm import Warm
        from tlbench.store.artifacts import Artifacts

        torch.set_num_threads(threads)
        if torch.cuda.is_available():
            torch.backends.cudnn.deterministic = True
        self._resources = resources
        self._facts = facts
        self._root = Path(os.environ.get("TLBENCH_ARTIFACTS") or root)
        gpu = resources.gpus > 0 and resources.workers == 1
        self._warm = Warm(Artifacts(self._root), torch.device("cuda" if gpu else "cpu"))

    def place(self) -> Place:
        """Say where this slot lives."""
        import ray
        import torch

        self._root.mkdir(parents=True, exist_ok=True)
        mark = self._root / ".identity"
        if not mark.exists():
            draft = self._root / f".identity-{os.getpid()}"
            draft.write_text(secrets.token_hex(8))
            with contextlib.suppress(FileExistsError):  # another slot was first
                os.link(draft, mark)
            draft.unlink()
        gpu = torch.cuda.get_device_name() if self._warm.device.type == "cuda" else ""
        return Place(ray.get_runtime_context().get_node_id(), os.getpid(), mark.read_text(), gpu)

    def run(self, cell: Cell, attempt: int) -> Record:
        """Run a cell and return its record."""
        facts = self._facts | {"attempt": attempt, "pid": os.getpid()}
        return _train(cell, self._warm, self._resources, facts)

    def make_weights(self, choice: BackboneChoice) -> None:
        """Make a pre-trained backbone's weights file, or find it made."""
        self._warm.backbone(choice, 0)

    def export_weights(self, choice: BackboneChoice) -> bytes:
        """Return the weights file for a slot that does not share this one's artifact folder."""
        return (self._warm.artifacts.path("pretrained", choice.key) / "weights.safetensors").read_bytes()

    def adopt_weights(self, choice: BackboneChoice, content: bytes) -> None:
        """Keep a weights file that another slot made."""

        def write(folder: Path) -> None:
            (folder / "weights.safetensors").write_bytes(content)

        self._warm.artifacts.get("pretrained", choice.key, write)


def _train(cell: Cell, warm: Warm, resources: Resources, facts: dict[str, Any]) -> Record:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from tlbench.execution.run_cell import run_cell

    def alone() -> Record:
        return run_cell(cell, warm, cpus=resources.cpus, gpus=resources.gpus, facts=facts)

    if resources.workers == 1:
        trainer = TorchTrainer(alone, scaling_config=ScalingConfig(num_workers=0), run_config=RunConfig(name=cell.id))
    else:
        per_worker = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
        trainer = TorchTrainer(
            _together,
            train_loop_config={"cell": cell, "root": str(warm.artifacts.root), "resources": resources, "facts": facts},
            scaling_config=ScalingConfig(
                num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
            ),
            run_config=RunConfig(
                name=f"{cell.id}-{facts['attempt']}",
                storage_path=str(warm.artifacts.root.parent / "train"),
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=1),
            ),
        )
    record: Record = trainer.fit().return_value
    return record


def _together(config: dict[str, Any]) -> Record:
    """Run one process's part of a data-parallel cell; a failure in any process ends the group."""
    import torch
    from ray import train
    from ray.train.torch import get_device

    from tlbench.execution.run_cell import run_cell
    from tlbench.execution.warm import Warm
    from tlbench.store.artifacts import Artifacts

    resources: Resources = config["resources"]
    torch.set_num_threads(max(1, int(resources.cpus)))
    context = train.get_context()
    device = torch.device(get_device())
    record = run_cell(
        config["cell"],
        Warm(Artifacts(Path(os.environ.get("TLBENCH_ARTIFACTS") or config["root"])), device),
        cpus=resources.cpus,
        gpus=resources.gpus,
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        facts=config["facts"],
    )
    if record.error is not None:
        raise RuntimeError(f"{record.error['type']}: {record.error['message']}\n{record.error['traceback']}")
    return record
