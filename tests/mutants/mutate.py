"""Breaks the package in one place at a time, and shows that the tests notice.

    python tests/mutants/mutate.py --check                      # do all mutants still apply? runs no test
    python tests/mutants/mutate.py [--jobs 2] [word ...]        # runs the tests of each
    python tests/mutants/mutate.py --results FILE [word ...]    # goes on where an earlier run was cut off

The mutants stand in the files ``mutants_*.py``; words choose those of whose name, file or definition they are a part,
as do ``lora`` and ``tlbench.stats``. Tests run on a copy of the package, in a process that has the
libraries loaded already: first as the package is, where they must pass, then with each mutant, where one must fail. A
mutant under which they do not end in time is red, too. Exits with 1 if a mutant survived, had no verdict or does not
apply, and names those at the end. A file of results has one line of JSON for each mutant; those that it has a verdict
on, as they are now, are not run again.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from mutant import ROOT, DoesNotApplyError, Mutant
from trial import HUNG, RED, SURVIVED, Ledger, Trial, run

LOADED = ("numpy", "pandas", "torch", "torchvision", "sklearn", "pydantic", "pytest")  # what takes long to import


def mutants(words: Iterable[str] = ()) -> dict[Mutant, str]:
    """Return the mutants whose name, file or place has one of the words, or all of them, each with its file."""
    files = sorted(Path(__file__).parent.glob("mutants_*.py"))
    found = {mutant: file.stem for file in files for mutant in importlib.import_module(file.stem).MUTANTS}
    words = tuple(words)
    return {
        mutant: stem
        for mutant, stem in found.items()
        if not words or any(word in text for word in words for text in (mutant.name, mutant.where, stem))
    }


def complaints(chosen: Iterable[Mutant]) -> dict[Mutant, str]:
    """Return why mutants cannot be tried, for those that do not apply or whose tests are not there."""
    found, names, tests = {}, Counter(), {}
    for mutant in chosen:
        names[mutant.name] += 1
        try:
            mutant.mutated()
        except DoesNotApplyError as error:
            found[mutant] = str(error)
        file, _, test = mutant.tests.partition("::")
        if file not in tests:
            tests[file] = _tests(ROOT / file)
        if test.partition("[")[0] not in tests[file]:
            found[mutant] = f"{mutant.name}: there is no {mutant.tests}"
        if names[mutant.name] > 1:
            found[mutant] = f"{mutant.name}: there are two mutants of this name"
    return found


def _tests(file: Path) -> set[str]:
    """Return the names of a file's tests, and the empty name of the file itself."""
    if not file.is_file():
        return set()
    body = ast.parse(file.read_text()).body
    methods = {
        f"{each.name}::{one.name}" for each in body if isinstance(each, ast.ClassDef) for one in _named(each.body)
    }
    return {"", *(each.name for each in _named(body)), *methods}


def _named(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.ClassDef]:
    return [each for each in body if isinstance(each, ast.FunctionDef | ast.ClassDef)]


def table(trials: Iterable[Trial]) -> str:
    """Return how many mutants of each file were red, hung, survived or had no verdict, and the seconds it took."""
    rows: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        rows[trial.file].append(trial)
    rows |= {"all": [trial for several in list(rows.values()) for trial in several]}
    lines = [f"{'file':28}{'mutants':>9}{'red':>7}{'of them hung':>14}{'survived':>10}{'no verdict':>12}{'seconds':>9}"]
    for name, several in rows.items():
        count = Counter(trial.outcome for trial in several)
        red = count[RED] + count[HUNG]
        open_ = len(several) - red - count[SURVIVED]
        seconds = sum(trial.seconds for trial in several)
        lines += [f"{name:28}{len(several):9}{red:7}{count[HUNG]:14}{count[SURVIVED]:10}{open_:12}{seconds:9.0f}"]
    return "\n".join(lines)


def main() -> int:
    """Check or try the chosen mutants, and return whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether all apply")
    parser.add_argument("--jobs", type=int, default=2, help="how many to try at once")
    parser.add_argument("--results", type=Path, help="file of results, which is read and extended")
    parser.add_argument("--timeout", type=float, default=120, help="seconds that tests have at least before they hang")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    chosen = mutants(options.words)
    wrong = complaints(chosen)
    print(*wrong.values(), sep="\n", end="\n" if wrong else "")
    print(f"{len(chosen) - len(wrong)} of {len(chosen)} mutants apply", flush=True)
    if options.check or not chosen:
        return bool(wrong) or not chosen
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LOADED:
        importlib.import_module(name)
    tried = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        possible = {mutant: stem for mutant, stem in chosen.items() if mutant not in wrong}
        for trial in run(possible, Ledger(options.results), Path(folder), options.jobs, options.timeout):
            print(f"{trial.outcome:10} {trial.seconds:6.1f} s  {trial.name}", flush=True)
            tried.append(trial)
    print(table(tried))
    failed = [trial for trial in tried if trial.outcome not in (RED, HUNG)]
    print(*(f"{trial.outcome}: {trial.name}{trial.detail}" for trial in failed), sep="\n", end="\n" if failed else "")
    return bool(wrong or failed)


if __name__ == "__main__":
    sys.exit(main())
