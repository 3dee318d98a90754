"""What a training had come to at the end of a leg: a cache, so that who goes on from there repeats nothing.

Where the state is missing, as on a machine that does not share the artifact folder, the legs are trained once more
from the start, which gives the same state.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tlbench.core.cell import Cell, Trial
from tlbench.core.hashing import digest
from tlbench.core.segments import GENERATIONS, WHOLE, before
from tlbench.store.artifacts import Artifacts
from tlbench.store.atomic_write import write_file
from tlbench.worker.provenance import sources

STATES = "states"  # kind of artifact; each setting has a folder of its own
_GIVEN_UP = 7 * 86400.0  # seconds after which nobody goes on with a search


def left(cell: Cell, artifacts: Artifacts, scratch: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return the legs to train in this process, as the mark where each ends and all its parameters.

    The checkpoints that the first of them continues from are laid into the folder, unless it has some of its own.

    Args:
        cell: The cell.
        artifacts: Where states are kept.
        scratch: Where the cell's checkpoints are.
    """
    if not cell.legs:
        return [(WHOLE, cell.method.params)]
    start = 0
    if cell.trial is not None and not list(scratch.glob("*.ckpt")):
        start = _lay(cell, cell.trial, artifacts, scratch)
    return [(until, cell.method.params | values) for until, values in cell.legs if until > start]


def keep(cell: Cell, artifacts: Artifacts, scratch: Path) -> None:
    """Keep what a trial's training has come to; its checkpoints move away from the folder."""
    assert cell.trial is not None
    files = list(scratch.glob("*.ckpt"))

    def move(folder: Path) -> None:
        for file in files:
            shutil.move(file, folder / file.name)

    if files:
        artifacts.get(_kind(cell.trial.setting), _key(cell, cell.legs[-1][0]), move)


def forget(settings: Iterable[str], artifacts: Artifacts) -> None:
    """Delete the states of settings whose search is over, and of those that nobody has gone on with for a week."""
    for setting in settings:
        shutil.rmtree(artifacts.root / _kind(setting), ignore_errors=True)
    for folder in (artifacts.root / STATES).glob("*"):
        with suppress(FileNotFoundError):  # another driver was faster
            if time.time() - folder.stat().st_mtime > _GIVEN_UP:
                shutil.rmtree(folder, ignore_errors=True)


def _lay(cell: Cell, trial: Trial, artifacts: Artifacts, scratch: Path) -> int:
    """Lay the latest state that there is into a folder, and return its mark; 0 where there is none."""
    for mark in reversed(GENERATIONS):
        folder = artifacts.path(_kind(trial.setting), _key(cell, mark))
        if mark < cell.legs[-1][0] and folder.is_dir():
            for file in folder.iterdir():
                with file.open("rb") as stored:
                    write_file(scratch / file.name, partial(shutil.copyfileobj, stored), durable=False)
            return mark
    return 0


def _kind(setting: str) -> str:
    return f"{STATES}/{setting}"


def _key(cell: Cell, mark: int) -> str:
    """Name the state of a trial's training at a mark: trials that have the same legs up to there share it."""
    return digest([before(cell.legs, mark), sources(cell)["method_source"]], length=32)
