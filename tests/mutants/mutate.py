"""Breaks the package in one place at a time, and shows that the tests notice.

    python tests/mutants/mutate.py [--jobs 2] [word ...]

The defects stand in the files ``mutants_*.py``. Each is put into a temporary copy of the package and its tests are
run on the copy, in a process that has the libraries loaded already; words choose mutants by their name or their file.
Exits with 1 if any survived, and names them at the end.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
LOADED = ("numpy", "pandas", "torch", "torchvision", "sklearn", "pydantic", "pytest")  # what takes long to import
_IGNORED = shutil.ignore_patterns("__pycache__", "frozen")


def broken(mutant: Mutant, copy: Path) -> None:
    """Write a copy of package and tests that has the mutant's defect."""
    for name in ("tlbench", "tests", "suites"):
        shutil.copytree(ROOT / name, copy / name, ignore=_IGNORED)
    shutil.copy(ROOT / "pyproject.toml", copy)
    file = copy / "tlbench" / mutant.file
    text = file.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.name}: {mutant.old!r} occurs {text.count(mutant.old)} times"
    file.write_text(text.replace(mutant.old, mutant.new))


def run_tests(copy: Path, tests: str) -> NoReturn:
    """Run tests on a copy, whose file ``log`` has what they print, and end this process with their exit code."""
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    os.chdir(copy)
    log = os.open("log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 3
    try:
        import pytest

        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", tests]))
        import tlbench

        assert Path(tlbench.__file__).is_relative_to(copy), f"the tests ran on {tlbench.__file__}"
    finally:
        sys.stdout.flush()
        os._exit(code)


def results(chosen: Iterable[Mutant], jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant and whether its tests pass all the same, as they end.

    Raises:
        RuntimeError: The tests could not be run.
    """
    waiting, running = iter(chosen), dict[int, tuple[Mutant, Path]]()
    while True:
        while len(running) < jobs and (mutant := next(waiting, None)) is not None:
            copy = Path(tempfile.mkdtemp(prefix="mutant-"))
            broken(mutant, copy)
            if (pid := os.fork()) == 0:
                run_tests(copy, mutant.tests)
            running[pid] = mutant, copy
        if not running:
            return
        pid, status = os.wait()
        mutant, copy = running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, 1):
            raise RuntimeError(f"{mutant.name}: pytest could not run\n{(copy / 'log').read_text()}")
        shutil.rmtree(copy)
        yield mutant, code == 0


def mutants(words: Iterable[str] = ()) -> list[Mutant]:
    """Return the mutants of all files, or those of whose name or file one of the words is a part."""
    files = sorted(Path(__file__).parent.glob("mutants_*.py"))
    found = [(file.stem, mutant) for file in files for mutant in importlib.import_module(file.stem).MUTANTS]
    words = tuple(words)
    return [each for stem, each in found if not words or any(word in each.name or word in stem for word in words)]


def main() -> int:
    """Try the chosen mutants, tell of each, and return whether any survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="how many to try at once")
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LOADED:
        importlib.import_module(name)
    survivors, tried = [], 0
    for mutant, alive in results(mutants(asked.words), asked.jobs):
        print(f"{'SURVIVED' if alive else 'noticed '}  {mutant.name}", flush=True)
        survivors += [mutant.name] * alive
        tried += 1
    print(f"{tried - len(survivors)} of {tried} noticed", *survivors, sep="\n  survived: ")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
