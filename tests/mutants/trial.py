"""Mutants are tried: their tests run on a copy of the package that has the defect, a few at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from mutant import ROOT, Mutant

RED, HUNG, SURVIVED, UNTRIED = "red", "hung", "survived", "no verdict"

_COPIED = ("tlbench", "tests", "suites", "cluster", "pyproject.toml", ".importlinter", "README.md")
_PASSED, _FAILED, _NOTHING_RAN = 0, 1, 5  # pytest's exit codes
_PATIENCE = 5  # times as long as without a mutant


@dataclass(frozen=True)
class Trial:
    """What became of a mutant: ``outcome`` is one of the four words above, ``detail`` why there is no verdict."""

    file: str
    name: str
    mark: str
    outcome: str
    seconds: float
    detail: str = ""


class Ledger:
    """Trials and the seconds of tests that pass without a mutant, kept in a file if one is given."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.trials: dict[tuple[str, str], Trial] = {}
        self.passed: dict[str, float] = {}
        for line in file.read_text().splitlines() if file and file.exists() else ():
            self._take(json.loads(line))

    def _take(self, entry: dict[str, Any]) -> None:
        if "passed" in entry:
            self.passed[entry["passed"]] = entry["seconds"]
        elif entry["outcome"] != UNTRIED:
            self.trials[entry["name"], entry["mark"]] = Trial(**entry)

    def add(self, entry: dict[str, Any]) -> None:
        """Keep a trial, or a test that passed."""
        self._take(entry)
        if self._file:
            with self._file.open("a") as file:
                file.write(json.dumps(entry) + "\n")


def mark(mutant: Mutant) -> str:
    """Return what tells a mutant from what it was before it was edited."""
    return sha256(repr(mutant).encode()).hexdigest()[:12]


def run(mutants: Mapping[Mutant, str], ledger: Ledger, folder: Path, jobs: int, timeout: float) -> Iterator[Trial]:
    """Yield the trials of mutants as they end, those that the ledger has first; values are the mutants' files."""
    groups: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        known = ledger.trials.get((mutant.name, mark(mutant)))
        if known:
            yield known
        else:
            groups[mutant.tests].append(mutant)
    waiting = sorted(groups.items(), key=lambda group: len(group[1]))  # large groups first, from the end
    lanes = [_Lane(folder / str(number), ledger, mutants, timeout) for number in range(jobs)]
    try:
        while waiting or not all(lane.idle for lane in lanes):
            for lane in lanes:
                if lane.idle and waiting:
                    lane.begin(*waiting.pop())
                yield from lane.advance()
            time.sleep(0.05)
    finally:
        for lane in lanes:
            lane.stop()


class _Lane:
    """One copy of the package, on which one process after the other runs tests."""

    def __init__(self, copy: Path, ledger: Ledger, files: Mapping[Mutant, str], timeout: float) -> None:
        self._copy, self._ledger, self._files, self._timeout = copy, ledger, files, timeout
        self._tests, self._left = "", []
        self._mutant: Mutant | None = None  # without one, tests run on the package as it is
        self._pid, self._began, self._intact = 0, 0.0, b""
        self._stamp = 1_000_000_000  # of the file that changes: the bytecode of another mutant is never taken for its
        copy.mkdir(parents=True)
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, copy)

    @property
    def idle(self) -> bool:
        return not self._pid

    def begin(self, tests: str, mutants: list[Mutant]) -> None:
        """Begin with mutants that have the same tests, after the tests without any unless they are known to pass."""
        self._tests, self._left = tests, list(mutants)
        self._start(None if tests not in self._ledger.passed else self._left.pop(0))

    def advance(self) -> Iterator[Trial]:
        """Yield the trials that are known by now, and start what comes next."""
        if not self._pid:
            return
        seconds = time.monotonic() - self._began
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        limit = max(self._timeout, _PATIENCE * self._ledger.passed.get(self._tests, 0.0))
        if not pid and seconds < limit:
            return
        code = os.waitstatus_to_exitcode(status) if pid else None
        self.stop(ended=bool(pid))
        if self._mutant is None and code == _PASSED:
            self._ledger.add({"passed": self._tests, "seconds": round(seconds, 2)})
        elif self._mutant is None:
            why = "do not end" if code is None else "do not run" if code == _NOTHING_RAN else f"end with {code}"
            for mutant in self._left:
                yield self._ended(mutant, UNTRIED, 0.0, f"\n  without it {self._tests} {why}\n{self._log()}")
            self._left = []
        else:
            self._write(self._copy / self._mutant.file, self._intact)
            outcome = {None: HUNG, _PASSED: SURVIVED, _FAILED: RED}.get(code, UNTRIED)
            detail = f"\n  {self._tests} ends with {code}\n{self._log()}" if outcome == UNTRIED else ""
            yield self._ended(self._mutant, outcome, seconds, detail)
        if self._left:
            self._start(self._left.pop(0))

    def stop(self, ended: bool = False) -> None:
        """End the process and all that it has started."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            if not ended:
                os.waitpid(self._pid, 0)
        self._pid = 0

    def _start(self, mutant: Mutant | None) -> None:
        self._mutant = mutant
        if mutant is not None:
            file = self._copy / mutant.file
            self._intact = file.read_bytes()
            self._write(file, mutant.mutated(self._copy).encode())
        self._began = time.monotonic()
        self._pid = os.fork()
        if not self._pid:
            _run_tests(self._copy, self._tests)

    def _write(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        self._stamp += 1
        os.utime(file, (self._stamp, self._stamp))

    def _ended(self, mutant: Mutant, outcome: str, seconds: float, detail: str) -> Trial:
        trial = Trial(self._files[mutant], mutant.name, mark(mutant), outcome, round(seconds, 2), detail)
        self._ledger.add(asdict(trial))
        return trial

    def _log(self) -> str:
        return "\n".join(f"    {line}" for line in (self._copy / "log").read_text(errors="replace").splitlines()[-15:])


class _Passed:
    """A plug-in of pytest that counts the tests that passed."""

    count = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.count += report.when == "call" and report.passed


def _run_tests(copy: Path, tests: str) -> NoReturn:
    """Run tests on a copy, whose file ``log`` has what they print, and end this process with pytest's exit code."""
    code = 3
    try:
        os.setsid()
        log = os.open(copy / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["PYTHONPATH"] = str(copy)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
        sys.path[:] = [str(copy), *(entry for entry in sys.path if not Path(entry).is_relative_to(ROOT / "tests"))]
        os.chdir(copy)
        import pytest

        passed = _Passed()
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", tests], plugins=[passed]))
        if code == _PASSED and not passed.count:
            code = _NOTHING_RAN
        import tlbench

        assert Path(tlbench.__file__).is_relative_to(copy), f"the tests ran on {tlbench.__file__}"
    finally:
        sys.stdout.flush()
        os._exit(code)
