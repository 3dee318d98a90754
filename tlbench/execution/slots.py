"""Slots: long-lived Ray actors that own a share of a machine, keep shared pieces warm, and run cells under Ray Train."""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.core.cell import BackboneChoice, Cell
from tlbench.core.errors import UserError
from tlbench.core.suite import Resources
from tlbench.execution.queue import Job, Weights

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    from tlbench.core.record import Record

RECYCLE = 5000  # cells after which a slot's process is replaced
_START_SECONDS = 180.0


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
            try:
                os.link(draft, mark)  # fails where another slot was first
            except FileExistsError:
                pass
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


def _train(cell: Cell, warm: Any, resources: Resources, facts: dict[str, Any]) -> Record:
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


@dataclass(frozen=True)
class Finished:
    """A job came to its end: a cell with its record, weights with None, or an exception instead of either."""

    slot: int
    job: Job
    value: Record | None
    error: Exception | None = None


@dataclass(frozen=True)
class Died:
    """A slot's process is gone: ``running`` was under way, ``waiting`` had not been started.

    ``stopped`` tells a slot that :meth:`Slots.stop` ended from one that died of itself.
    """

    slot: int
    running: Job
    waiting: list[Job]
    reason: str
    stopped: bool


@dataclass
class _Seat:
    actor: ActorHandle
    place: Place | None = None
    ready: Any = None
    jobs: deque[tuple[Job, Any]] = field(default_factory=deque)
    began: float = 0.0
    finished: int = 0
    doomed: str = ""


class Slots:
    """A pool of slots on a local or remote Ray cluster; use it as a context manager.

    Args:
        root: The artifact folder.
        resources: What one cell needs.
        address: A running cluster's address, or None for one of this machine's own.
        facts: Provenance for every record.
        count: Number of slots; None fills the cluster.
    """

    def __init__(
        self,
        root: Path,
        resources: Resources,
        *,
        address: str | None = None,
        facts: dict[str, Any] | None = None,
        count: int | None = None,
    ) -> None:
        self._root = root
        self._resources = resources
        self._address = address
        self._facts = facts or {}
        self._count = count
        self._seats: dict[int, _Seat] = {}
        self._holders: dict[str, set[str]] = {}
        self._next = 0

    def __enter__(self) -> Slots:
        import ray

        connect(self._root.parent, self._address)
        try:
            for _ in range(self._count or _capacity(self._resources)):
                self._seat()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for seat in self._seats.values():
            ray.kill(seat.actor)
        ray.shutdown()

    def __len__(self) -> int:
        return len(self._seats)

    def free(self, depth: int) -> list[int]:
        """Return the slots with fewer than ``depth`` jobs, the emptiest first."""
        open_seats = [(len(seat.jobs), number) for number, seat in self._seats.items() if len(seat.jobs) < depth]
        return [number for _, number in sorted(open_seats)]

    def running(self) -> list[tuple[int, Job, float]]:
        """Return (slot, job, seconds under way) of every job that has begun."""
        now = time.monotonic()
        return [(number, seat.jobs[0][0], now - seat.began) for number, seat in self._seats.items() if seat.jobs]

    def pids(self) -> list[int]:
        """Return the process ids of the slots whose place is known."""
        return [seat.place.pid for seat in self._seats.values() if seat.place is not None]

    def submit(self, slot: int, job: Job, attempt: int = 1) -> None:
        """Give a job to a slot; it starts when the slot's earlier jobs are done."""
        seat = self._seats[slot]
        if not seat.jobs:
            seat.began = time.monotonic()
        if isinstance(job, Weights):
            reference = seat.actor.make_weights.remote(job.choice)
        else:
            if job.backbone.pretrain is not None:
                self._bring_weights(seat, job.backbone)
            reference = seat.actor.run.remote(job, attempt)
        seat.jobs.append((job, reference))

    def stop(self, slot: int, reason: str) -> None:
        """Kill a slot; the next :meth:`events` reports it dead, with this reason, and a fresh one takes its place."""
        import ray

        seat = self._seats[slot]
        seat.doomed = reason
        ray.kill(seat.actor)

    def events(self, timeout: float) -> list[Finished | Died]:
        """Wait at most ``timeout`` seconds for something to happen and return all that has."""
        import ray

        heads = {seat.jobs[0][1]: number for number, seat in self._seats.items() if seat.jobs}
        if not heads:
            return []
        done, _ = ray.wait(list(heads), num_returns=1, timeout=timeout)
        if done:
            done, _ = ray.wait(list(heads), num_returns=len(heads), timeout=0)
        return [event for reference in done for event in self._collect(heads[reference])]

    def _collect(self, number: int) -> list[Finished | Died]:
        import ray

        seat = self._seats[number]
        job, reference = seat.jobs[0]
        try:
            value = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            event: Finished | Died = Finished(number, job, None, _cause(error))
        except ray.exceptions.RayError as error:
            return [self._bury(number, error)]
        else:
            event = Finished(number, job, value)
        seat.jobs.popleft()
        seat.began = time.monotonic()
        seat.finished += 1
        if isinstance(job, Weights) and isinstance(event, Finished) and event.error is None:
            self._holders.setdefault(job.choice.key, set()).add(self._place(seat).store)
        if seat.finished >= RECYCLE and not seat.jobs:
            self._replace(number)
        return [event]

    def _bury(self, number: int, error: Exception) -> Died:
        seat = self._seats[number]
        jobs = [job for job, _ in seat.jobs]
        self._replace(number)
        return Died(number, jobs[0], jobs[1:], seat.doomed or _first_line(error), stopped=bool(seat.doomed))

    def _replace(self, number: int) -> None:
        import ray

        ray.kill(self._seats.pop(number).actor)
        self._seat()

    def _seat(self) -> None:
        import ray

        together = self._resources.workers > 1
        options = {
            "num_cpus": 0 if together else self._resources.cpus,
            "num_gpus": 0 if together else self._resources.gpus,
            "max_restarts": 0,
        }
        actor = ray.remote(**options)(Slot).remote(str(self._root), self._resources, self._facts)
        self._seats[self._next] = _Seat(actor, ready=actor.place.remote())
        self._next += 1

    def _place(self, seat: _Seat) -> Place:
        import ray

        if seat.place is None:
            place: Place = ray.get(seat.ready, timeout=_START_SECONDS)
            seat.place = place
        return seat.place

    def _bring_weights(self, seat: _Seat, choice: BackboneChoice) -> None:
        holders = self._holders.get(choice.key, set())
        here = self._place(seat).store
        if not holders or here in holders:
            return
        giver = next(s for s in self._seats.values() if s.place is not None and s.place.store in holders)
        seat.actor.adopt_weights.remote(choice, giver.actor.export_weights.remote(choice))
        self._holders[choice.key].add(here)


def connect(home: Path, address: str | None) -> None:
    """Start a cluster of this machine's own on the loopback address, or join the one at ``address``.

    Raises:
        UserError: No cluster answers at the address.
    """
    _prepare_environment(home, own=address is None)
    import ray

    if address is None:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster at {address!r}: {_first_line(error)}", "start one with `ray start --head`, or leave --address out"
        ) from error


def _prepare_environment(home: Path, own: bool) -> None:
    """Set what Ray reads when it is imported, unless the user did."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    # Workers use this very environment; without this, `uv run` would make Ray rebuild it for each of them.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if own:
        # Ray's switch for a machine that stands alone, whatever its system: every port on the loopback address.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if own and "RAY_AUTH_MODE" not in os.environ:
        home.mkdir(parents=True, exist_ok=True)
        token = home / "ray.token"
        if not token.exists():
            with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def _capacity(resources: Resources) -> int:
    """Return how many cells the cluster can run at once."""
    import ray

    total = ray.cluster_resources()
    cpus, gpus = resources.cpus * resources.workers, resources.gpus * resources.workers
    fits = int(total.get("CPU", 0) // cpus)
    if gpus:
        fits = min(fits, int(total.get("GPU", 0) // gpus))
    if fits < 1:
        raise UserError(
            f"one cell needs {cpus:g} CPUs and {gpus:g} GPUs; the cluster has {total.get('CPU', 0):g} and "
            f"{total.get('GPU', 0):g}",
            "lower `resources` in the suite, or give --address of a larger cluster",
        )
    return fits


def _cause(error: Exception) -> Exception:
    return error.cause if isinstance(getattr(error, "cause", None), Exception) else error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
