"""Checkpoints at the ends of segments, kept as artifacts, from which other trials of a search continue.

They are a cache. Where one is missing, as on a machine that does not share the artifact folder, the segments before are
trained again from the start, which gives the same state.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tlbench.core.cell import Cell
from tlbench.core.description import Trial
from tlbench.core.hashing import digest
from tlbench.core.segments import GENERATIONS, WHOLE, Segment, segments_before
from tlbench.store.artifacts import Artifacts
from tlbench.store.atomic_write import write_file
from tlbench.worker.provenance import sources

STATES = "states"  # kind of artifact; each setting that is searched has a folder of its own
_ABANDONED = 7 * 86400.0  # seconds without a change after which no search continues from a setting's states


def remaining_segments(cell: Cell, artifacts: Artifacts, scratch: Path) -> list[Segment]:
    """Return the segments to train in this process, with the values of all parameters of the method.

    The checkpoints that the first of them continues from are copied into the folder, unless it has some of its own.

    Args:
        cell: The cell; one whose training has no segments is trained in one piece, to its end.
        artifacts: Where states are kept.
        scratch: Folder of the cell's checkpoints.
    """
    if not cell.segments:
        return [Segment(WHOLE, cell.method.params)]
    start = 0
    if cell.trial is not None and not list(scratch.glob("*.ckpt")):
        start = _copy_latest_state(cell, cell.trial, artifacts, scratch)
    return [Segment(until, cell.method.params | values) for until, values in cell.segments if until > start]


def store_state(cell: Cell, artifacts: Artifacts, scratch: Path) -> None:
    """Store the checkpoints at the end of a trial's last segment; they are moved out of the folder.

    Args:
        cell: A trial whose training has segments.
        artifacts: Where states are kept.
        scratch: Folder of the cell's checkpoints.
    """
    assert cell.trial is not None
    files = list(scratch.glob("*.ckpt"))

    def move(folder: Path) -> None:
        for file in files:
            shutil.move(file, folder / file.name)

    if files:
        artifacts.get(_kind(cell.trial.setting), _key(cell, cell.segments[-1].until), move)


def delete_states(finished: Iterable[str], artifacts: Artifacts) -> None:
    """Delete states that nothing continues from any more.

    Args:
        finished: Keys of the settings whose search is over; those abandoned for a week are deleted as well.
        artifacts: Where states are kept.
    """
    for setting in finished:
        shutil.rmtree(artifacts.root / _kind(setting), ignore_errors=True)
    for folder in (artifacts.root / STATES).glob("*"):
        with suppress(FileNotFoundError):  # another driver was faster
            if time.time() - folder.stat().st_mtime > _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)


def _copy_latest_state(cell: Cell, trial: Trial, artifacts: Artifacts, scratch: Path) -> int:
    """Copy the latest state that exists into a folder; return its position in ninths, 0 where there is none."""
    for ninth in reversed(GENERATIONS):
        folder = artifacts.path(_kind(trial.setting), _key(cell, ninth))
        if ninth < cell.segments[-1].until and folder.is_dir():
            for file in folder.iterdir():
                with file.open("rb") as stored:
                    write_file(scratch / file.name, partial(shutil.copyfileobj, stored), durable=False)
            return ninth
    return 0


def _kind(setting: str) -> str:
    return f"{STATES}/{setting}"


def _key(cell: Cell, ninth: int) -> str:
    """Return the key of a trial's state at a position; trials that have the same segments up to there share it."""
    return digest([segments_before(cell.segments, ninth), sources(cell)["method_source"]], length=32)
