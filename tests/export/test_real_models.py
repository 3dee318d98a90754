"""Published weights on real texts: exported once, their answers are those of the cell, and need no hub."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from exported_models import exported, hash_of_test_logits
from real_inputs import real_data, real_weights

import tlbench

pytest.importorskip("transformers")

LORA = {"name": "lora", "params": {"epochs": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear_probe", LORA], ids=str)
def test_a_sentence_encoder_on_intents(tmp_path: Path, method: object) -> None:
    real_weights("sentence-transformers/all-MiniLM-L6-v2")
    with real_data("clinc150/clinc150.csv").open() as stream:
        rows = list(csv.reader(stream))
    labels = sorted({row[1] for row in rows[1:]})[:5]
    few = [row for label in labels for row in [each for each in rows if each[1] == label][:60]]
    with (tmp_path / "few.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["text", "label"], *(row[:2] for row in few)])
    data = [{"name": "texts", "path": str(tmp_path / "few.csv")}]
    backbones = [{"name": "hf:sentence-transformers/all-MiniLM-L6-v2", "weights": "hf"}]
    result, record, cell, cache = exported(tmp_path, tmp_path / "artifacts", method, datasets=data, backbones=backbones)
    assert record.outcome is not None
    assert hash_of_test_logits(tlbench.load(result.folder), cell, cache) == record.outcome.logits
    moved = shutil.move(result.folder, tmp_path / "moved")
    code = f"import tlbench; print([each.label for each in tlbench.load({str(moved)!r}).predict({[few[0][0]]!r})])"
    alone = os.environ | {"HF_HOME": str(tmp_path / "none"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=alone, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert few[0][1] in done.stdout
