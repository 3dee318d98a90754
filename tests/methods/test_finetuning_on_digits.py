"""BitFit, LP-FT, L2-SP and WiSE-FT against their lower baselines on real digits, as a user would run them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
name: floors
baseline: linear_probe
grids:
  - protocol: classification
    methods:
      - linear_probe
      - {name: finetune, params: &training {epochs: 20}}
      - {name: bitfit, params: *training}
      - {name: lp_ft, params: *training}
      - {name: l2_sp, params: *training}
      - {name: wise_ft, params: *training}
    backbones: [{name: conv4, width: 32, pretrain: {method: supervised, dataset: glyphs}}]
    datasets: [digits]
    shots: [20]
    seeds: 3
resources: {cpus: 1, gpus: 0, workers: 1}
"""
MARGIN = 0.02
"""What is taken for no worse: three seeds do not tell less apart."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_none_is_worse_than_its_lower_baseline(tmp_path: Path, environment: dict[str, str]) -> None:
    suite = tmp_path / "floors.yaml"
    suite.write_text(SUITE)
    command = [sys.executable, "-m", "tlbench", "run", str(suite), "--reports", str(tmp_path / "reports")]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1100, check=True)
    with (tmp_path / "reports" / "floors" / "leaderboard.csv").open() as table:
        accuracy = {row["method"].partition("(")[0]: float(row["accuracy"]) for row in csv.DictReader(table)}
    assert accuracy["bitfit"] > accuracy["linear_probe"] - MARGIN
    assert accuracy["lp_ft"] > accuracy["linear_probe"]
    assert accuracy["wise_ft"] > accuracy["linear_probe"]
    assert accuracy["l2_sp"] > accuracy["finetune"] - MARGIN
