"""Every mutant still applies, and trials of mutants end as they should; ``mutate.py`` tries them all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutate import complaints, mutants

TRIALS = """
import sys
from pathlib import Path
from mutant import Mutant
from trial import Ledger, run

ORDER, TESTS = "tlbench.core.class_splits:_order", "tests/core/test_class_splits.py"
MUTANTS = [
    Mutant("noticed", ORDER, "sorted(range(count), key=keys.__getitem__)", "[]", TESTS),
    Mutant("alive", ORDER, "keys.__getitem__", "lambda k: keys[k]", TESTS),
    Mutant("endless", ORDER, "sorted(range(count), key=keys.__getitem__)", "[k for k in iter(int, 1)]", TESTS),
    Mutant("no test", ORDER, "keys.__getitem__", "None", TESTS + "::test_that_is_not_there"),
]
folder = Path(sys.argv[1])
for trial in run(dict.fromkeys(MUTANTS, "file"), Ledger(folder / "results"), folder / sys.argv[2], 2, 15):
    print(trial.name, trial.outcome, sep=": ")
"""


@pytest.mark.slow
def test_all_mutants_apply() -> None:
    assert list(complaints(mutants()).values()) == []


@pytest.mark.slow
def test_trials_are_red_survived_or_hung_and_are_not_repeated(tmp_path: Path) -> None:
    def run(name: str) -> list[str]:
        command = [sys.executable, "-c", TRIALS, str(tmp_path), name]
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.splitlines()

    verdicts = ["alive: survived", "endless: hung", "no test: no verdict", "noticed: red"]
    assert sorted(run("first")) == verdicts
    kept = (tmp_path / "results").read_text().splitlines()
    assert sorted(run("second")) == verdicts
    (again,) = (tmp_path / "results").read_text().splitlines()[len(kept) :]
    assert json.loads(again)["name"] == "no test"
