"""The Ray cluster that slots live on: one of this machine's own on the loopback address, or one that is running."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlbench.core.errors import UserError
from tlbench.core.resources import Resources

_KNOCK_SECONDS = 5.0
_START_ONE = "start one with `ray start --head`, or leave --address out"


def connect(workspace: Path, address: str | None) -> None:
    """Start a cluster of this machine's own on the loopback address, or join the one at ``address``.

    Raises:
        UserError: No cluster answers at the address.
    """
    if address is not None:
        _knock(address)
    _prepare_environment(workspace, own=address is None)
    import ray

    if address is None:
        with _without_tracking():
            _start()
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster at {address!r}: {first_line(error)}", _START_ONE) from error


def _start() -> None:
    """Start a cluster here, once more where a busy machine took longer than Ray waits.

    Raises:
        UserError: It took too long again.
    """
    import ray

    for last in (False, True):
        try:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:  # Ray raises nothing more special
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if last:
                hint = "the machine is very busy; try again, or give --address"
                raise UserError("Ray could not start here in time, twice", hint) from error


def _knock(address: str) -> None:
    """Refuse an address where nothing listens: Ray would try for ten minutes before it says so."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdigit():
        return  # "auto", or another name that Ray looks up at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"no Ray cluster at {address!r}: {reason}", _START_ONE) from error


@contextmanager
def _without_tracking() -> Iterator[None]:
    """Keep MLflow's address and credentials out of the environment that workers inherit: only the driver writes."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    try:
        yield
    finally:
        os.environ.update(kept)


def _prepare_environment(workspace: Path, own: bool) -> None:
    """Set what Ray reads when it is imported, unless the user did."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would print this among our results; who runs the cell or trial says what became of it.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^A worker died or was killed")
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
        workspace.mkdir(parents=True, exist_ok=True)
        token = workspace / "ray.token"
        if not token.exists():
            with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


def capacity(resources: Resources) -> int:
    """Return how many cells the cluster can run at once: what fits on each machine, for a worker cannot span two.

    Raises:
        UserError: Not even one.
    """
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers = sum(_room(machine, resources) for machine in machines)
    if workers < resources.workers:
        largest = max((f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in machines), default="nothing")
        raise UserError(
            f"one cell needs {resources.workers} times {resources.cpus:g} CPUs and {resources.gpus:g} GPUs; "
            f"the cluster has room for {workers} (a machine has up to {largest})",
            "lower `resources` in the suite, or give --address of a larger cluster",
        )
    return workers // resources.workers


def _room(machine: dict[str, float], resources: Resources) -> int:
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus}
    # A share such as 0.2 is a little more in binary: 1 // 0.2 is 4.
    return min(int(machine.get(kind, 0) / share + 1e-9) for kind, share in wanted.items() if share)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
