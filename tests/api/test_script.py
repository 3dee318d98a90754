"""A script that runs a suite, exports what won and asks it, without ``if __name__ == "__main__"``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio

import numpy as np

import tlbench

suite = {
    "name": "scripted",
    "baseline": "nearest_centroid",
    "grids": [{
        "protocol": "classification",
        "methods": ["nearest_centroid", "linear_probe"],
        "backbones": [{"name": "conv4", "width": 8}],
        "datasets": ["digits"],
        "shots": [5],
        "seeds": 3,
    }],
}
print(tlbench.run(suite, only="seed=0"))

async def rest():
    return tlbench.run(suite, progress=True)  # as in a notebook, where a loop of events runs

print(asyncio.run(rest()))
print(tlbench.run(suite))
print(len(tlbench.results(suite)), list(tlbench.leaderboard(suite)["cells"]))
print(tlbench.export("method=linear_probe seed=0", "model", suite=suite))
print(len(tlbench.load("model").predict([np.zeros((8, 8), np.uint8)] * 3)))
print(tlbench.report(suite).index)
"""


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "scripted: 2 cells run",
        "scripted: 4 cells run",
        "scripted: 0 cells run",
        "6 [3, 3]",
        "<Exported model, 10 classes>",
        "3",
        "reports/scripted/index.html",
    ]
    assert "6/6" in done.stderr, "progress was asked for"
