from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlbench.store.artifacts import Artifacts

BUILDER = """
import sys, time, os
from pathlib import Path
from tlbench.store.artifacts import Artifacts
root, seconds = Path(sys.argv[1]), float(sys.argv[2])
def build(folder):
    with open(root / "builds", "a") as stream:
        stream.write(f"{os.getpid()}\\n")
    (folder / "half").write_text("x")
    time.sleep(seconds)
    (folder / "whole").write_text("done")
print(Artifacts(root).get("kind", "key", build) / "whole")
"""


def builder(root: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(root), str(seconds)], stdout=subprocess.PIPE, text=True)


def test_built_once_though_several_processes_ask_at_the_same_moment(tmp_path: Path) -> None:
    asked = [builder(tmp_path, 0.5) for _ in range(4)]
    paths = {process.communicate(timeout=60)[0].strip() for process in asked}
    assert paths == {str(tmp_path / "kind" / "key" / "whole")}
    assert len((tmp_path / "builds").read_text().splitlines()) == 1


def test_a_killed_builder_leaves_no_artifact_and_the_next_one_builds_it(tmp_path: Path) -> None:
    first = builder(tmp_path, 60)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("kind/.key.tmp-*/half")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    store = Artifacts(tmp_path)
    assert not store.has("kind", "key")
    built = store.get("kind", "key", lambda folder: (folder / "whole").write_text("again") and None)
    assert (built / "whole").read_text() == "again"
    assert sorted(path.name for path in (tmp_path / "kind").iterdir() if path.is_dir()) == ["key"]


def test_a_failed_build_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "part").write_text("x")
        raise OSError("no space left on device")

    store = Artifacts(tmp_path)
    with pytest.raises(OSError, match="no space"):
        store.get("kind", "key", fail)
    assert not [path for path in (tmp_path / "kind").iterdir() if path.is_dir()]
    assert store.get("kind", "key", lambda folder: None).is_dir()
