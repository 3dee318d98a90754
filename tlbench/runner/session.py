"""The Ray cluster of one run: started or joined once, used by searches and cells alike, and shut down once."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

from tlbench.core.errors import UserError
from tlbench.core.resources import Resources
from tlbench.runner.cluster_address import find_cluster

_IDLE_SECONDS = 10.0
_LONGEST_FOLDER = 38  # bytes: a socket has 107, of which /ray/session_DATE_TIME_PID/sockets/plasma_store takes 68
_SHORT_FOLDER = "/tmp/tlbench-{}"  # owner and rights are checked
_POLL_SECONDS = 0.05
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray would print this among our results; the record of the cell or trial says what became of it.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^A worker died or was killed",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Workers use this very environment; without this, `uv run` would make Ray rebuild it for each of them.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Ray's switch for a machine that stands alone, whatever its system: every port on the loopback address.
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class RaySession:
    """A connection to Ray that starts when it is first needed; use it as a context manager around a whole run.

    Lifecycle: entering does nothing. :meth:`start` starts a cluster of this machine's own on the loopback address, or
    joins the one at ``address``, when it is first called, and does nothing afterwards. Leaving shuts down what was
    started. A session is entered once.

    Args:
        workspace: tlbench's folder, which keeps the token of a cluster of this machine's own.
        address: A running cluster, or None or ``local`` for one of this machine's own.
    """

    def __init__(self, workspace: Path, address: str | None = None) -> None:
        self._workspace = workspace
        self._address = None if address == "local" else address
        self._start_attempted = False
        self._free_at_start: dict[str, float] | None = None  # None before the start has succeeded

    def __enter__(self) -> RaySession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._start_attempted:
            import ray

            ray.shutdown()
            self._free_at_start = None

    def start(self) -> None:
        """Start or join the cluster, unless this session has done so.

        Raises:
            UserError: No cluster answers at the address, none could be started here in time, or Ray runs in this
                process already.
        """
        if self._free_at_start is not None:
            return
        _refuse_a_second_ray()
        self._prepare_environment()
        place = None if self._address is None else find_cluster(self._address)
        self._start_attempted = True
        with _kept_termination_handler():  # Ray reads its environment when it is imported, so not before
            if place is None:
                with _without_tracking():
                    _start_cluster()
            else:
                _join_cluster(place)
        self._free_at_start = _free()

    def capacity(self, resources: Resources) -> int:
        """Return how many cells the cluster can run at once: what fits on each machine, for a worker cannot span two.

        Args:
            resources: What one cell needs.

        Raises:
            UserError: Not even one.
        """
        machines = [machine["Resources"] for machine in _machines()]
        workers = sum(workers_that_fit(machine, resources) for machine in machines)
        if workers < resources.workers:
            sizes = (f"{machine.get('CPU', 0):g} CPUs and {machine.get('GPU', 0):g} GPUs" for machine in machines)
            raise UserError(
                f"one cell needs {resources.workers} times {resources.cpus:g} CPUs and {resources.gpus:g} GPUs; "
                f"the cluster has room for {workers} (a machine has up to {max(sizes, default='nothing')})",
                "lower `resources` in the suite, or give --address of a larger cluster",
            )
        return workers // resources.workers

    def machines(self) -> frozenset[str]:
        """Return Ray's ids of the machines that are alive."""
        return frozenset(machine["NodeID"] for machine in _machines())

    def wait_until_idle(self, seconds: float = _IDLE_SECONDS) -> bool:
        """Wait until the processes that this run has ended have given their CPUs and GPUs back.

        Args:
            seconds: How long at most; on a shared cluster somebody else may have taken what was free at the start.

        Returns:
            Whether as much is free as when the session started, less what machines lost since then had.
        """
        deadline = time.monotonic() + seconds
        while True:
            free, present = _free(), _sum(machine["Resources"] for machine in _machines())
            before = self._free_at_start or {}
            if all(free[kind] >= min(size, present[kind]) for kind, size in before.items()):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)

    def _prepare_environment(self) -> None:
        """Set what Ray and its workers read from the environment, unless the user did."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if self._address is not None:
            return
        os.environ.setdefault(_LOOPBACK_ONLY, "0")
        _shorten_temporary_folder()
        if "RAY_AUTH_MODE" not in os.environ:
            self._workspace.mkdir(parents=True, exist_ok=True)
            token = self._workspace / "ray.token"
            if not token.exists():
                with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                    stream.write(secrets.token_hex(32))
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def _shorten_temporary_folder() -> None:
    """Let Ray keep its sockets in a short folder of the user's own where the folder for temporary files is too long.

    Raises:
        UserError: ``$RAY_TMPDIR`` itself is too long, or no short folder can be made.
    """
    named = os.environ.get("RAY_TMPDIR")
    folder = named or os.environ.get("TMPDIR") or "/tmp"  # as Ray chooses it
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return
    hint = f"set RAY_TMPDIR to a folder whose path has at most {_LONGEST_FOLDER} bytes"
    if named:
        raise UserError(f"RAY_TMPDIR is too long for Ray's sockets: {named}", hint)
    own = Path(_SHORT_FOLDER.format(os.getuid()))
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
    except OSError as error:
        raise UserError(f"{folder}: too long for Ray's sockets, and {own} cannot be made", hint) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(f"{folder}: too long for Ray's sockets, and {own} is not a folder of your own alone", hint)
    os.environ["RAY_TMPDIR"] = str(own)


def workers_that_fit(machine: Mapping[str, float], resources: Resources) -> int:
    """Return how many workers with these CPUs and GPUs fit on a machine with so many, as Ray names them."""
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    # A share such as 0.2 is a little more in binary: 1 // 0.2 is 4.
    return min(int(machine.get(kind, 0) / share + 1e-9) for kind, share in wanted.items() if share)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _refuse_a_second_ray() -> None:
    """Refuse to start where this process, a notebook's for example, has started Ray by itself: it is not ours to end.

    Raises:
        UserError: It has.
    """
    ray = sys.modules.get("ray")  # whoever has started it has imported it
    if ray is not None and ray.is_initialized():
        raise UserError(
            "Ray runs in this process already, and was not started by tlbench",
            "call ray.shutdown() first, and give `address` to use that cluster",
        )


def _start_cluster() -> None:
    """Start a cluster here, once more where a busy machine took longer than Ray waits.

    Raises:
        UserError: It took too long again.
    """
    import ray

    for last in (False, True):
        try:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Ray raises nothing more special
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if last:
                hint = "the machine is very busy; try again, or give --address"
                raise UserError("Ray could not start here in time, twice", hint) from error


def _join_cluster(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        hint = "is it the same version of Ray, and is this machine one of its own?"
        raise UserError(f"the Ray cluster at {address} cannot be joined: {first_line(error)}", hint) from error


@contextmanager
def _without_tracking() -> Iterator[None]:
    """Keep MLflow's address and credentials out of the environment that workers inherit: only the driver writes."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _kept_termination_handler() -> Iterator[None]:
    """Keep a handler of SIGTERM that was set before (see :mod:`.graceful_stop`).

    Ray sets handlers of its own while it starts, which end the process at once, and has no option against that. Where
    its function for it has another name one day, the handler is lost during the start only.
    """
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    from ray._private import utils

    with mock.patch.object(utils, "set_sigterm_handler", create=True):
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def _machines() -> list[dict[str, Any]]:
    """Return Ray's entries of the machines that are alive."""
    import ray

    state: Any = ray  # which declares no types for what it knows of the cluster
    return [machine for machine in state.nodes() if machine["Alive"]]


def _free() -> dict[str, float]:
    """Return the CPUs and GPUs that nobody holds."""
    import ray

    state: Any = ray
    return _sum([state.available_resources()])


def _sum(sizes: Iterable[Mapping[str, float]]) -> dict[str, float]:
    listed = list(sizes)
    return {kind: sum(size.get(kind, 0.0) for size in listed) for kind in ("CPU", "GPU")}
