"""A whole run starts Ray once: searches first, then cells, and a suite with nothing to do does not start it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_suites import suite

SEARCHED = suite(
    "once",
    {"methods": [{"name": "finetune", "params": {"epochs": 2}}, "nearest_centroid"], "shots": [5], "seeds": 2},
    search={"trials": 3, "scheduler": "none", "searcher": "random"},
)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # the paths of sockets must be short
        yield Path(folder)


def sessions(folder: Path) -> int:
    """The number of clusters that Ray has started; each has a folder."""
    return len([path for path in folder.glob("ray/session_*") if path.is_dir() and not path.is_symlink()])


def test_the_driver_imports_neither_torch_nor_ray_before_there_is_work() -> None:
    code = (
        "import sys, tlbench.runner.run_suite; "
        "print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def kinds_of_workers(driver: int) -> set[str]:
    found = set()
    with suppress(psutil.Error):
        for process in psutil.Process(driver).children(recursive=True):
            with suppress(psutil.Error):
                name = " ".join(process.cmdline())
                found |= {kind for kind in ("ray::ImplicitFunc", "ray::Slot") if kind in name}
    return found


@pytest.mark.slow
def test_searches_and_cells_share_one_session_and_never_the_processors(
    tmp_path: Path,
    environment: dict[str, str],
    write_suite: Callable[[dict[str, Any]], Path],
    ray_folder: Path,
) -> None:
    environment |= {"RAY_TMPDIR": str(ray_folder)}
    command = [sys.executable, "-m", "tlbench", "run", str(write_suite(SEARCHED))]
    log = (tmp_path / "run.log").open("w")
    driver = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    together: list[set[str]] = []
    while driver.poll() is None:
        together.append(kinds_of_workers(driver.pid))
        time.sleep(0.1)
    text = (tmp_path / "run.log").read_text()
    assert driver.returncode == 0, text
    assert "12/12 trials" in text
    assert re.search(r"\b([4-8])/\1\b", text), "four cells, and a default beside each that the search did not keep"
    assert sessions(ray_folder) == 1
    assert {"ray::ImplicitFunc"} in together
    assert {"ray::Slot"} in together
    assert {"ray::ImplicitFunc", "ray::Slot"} not in together, "a search's processes end before the first slot starts"

    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert again.returncode == 0, again.stderr
    assert "nothing left to run" in again.stdout
    assert sessions(ray_folder) == 1, "nothing to do, nothing started"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ray_starts_is_a_request_to_stop(
    tmp_path: Path,
    environment: dict[str, str],
    write_suite: Callable[[dict[str, Any]], Path],
    ray_folder: Path,
    number: int,
) -> None:
    environment |= {"RAY_TMPDIR": str(ray_folder)}
    command = [sys.executable, "-m", "tlbench", "run", str(write_suite(suite("stopped")))]
    driver = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while driver.poll() is None and not sessions(ray_folder):
        time.sleep(0.01)
    driver.send_signal(number)
    out, err = driver.communicate(timeout=100)
    assert driver.returncode == 1, out + err
    assert "stopped" in err
    assert "6 cells left" in err
    assert "Traceback" not in err
