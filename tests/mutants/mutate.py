"""Breaks the package in one place at a time, and shows that the tests notice.

    python tests/mutants/mutate.py [word ...]

The defects stand in the files ``mutants_*.py``. Each is put into a temporary copy of the package and its tests are
run on the copy; words choose mutants by their name. Exits with the number of mutants that survived.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]


def survives(mutant: Mutant) -> bool:
    """Say whether the mutant's tests pass all the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tlbench", copy / "tlbench", ignore=ignored)
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "tlbench" / mutant.file
        text = file.read_text()
        assert text.count(mutant.old) == 1, f"{mutant.name}: {mutant.old!r} occurs {text.count(mutant.old)} times"
        file.write_text(text.replace(mutant.old, mutant.new))
        environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests]
        found = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if found.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.name}: pytest could not run\n{found.stdout}{found.stderr}")
    return found.returncode == 0


def mutants() -> list[Mutant]:
    """Return the mutants of all files."""
    files = sorted(Path(__file__).parent.glob("mutants_*.py"))
    return [mutant for file in files for mutant in importlib.import_module(file.stem).MUTANTS]


def main() -> int:
    """Try the chosen mutants and return the number of survivors."""
    words = sys.argv[1:]
    chosen = [mutant for mutant in mutants() if not words or any(word in mutant.name for word in words)]
    survivors = 0
    for mutant in chosen:
        alive = survives(mutant)
        survivors += alive
        print(f"{'SURVIVED' if alive else 'noticed '}  {mutant.name}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
