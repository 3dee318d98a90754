"""What a run shows while it goes on, where there is no terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tlbench.cli import progress
from tlbench.cli.progress import ConsoleObserver, ProgressLine
from tlbench.runner.observer import Stage


def record(status: str = "done", seconds: float = 360.0, gpus: float = 0.0) -> Any:
    return SimpleNamespace(status=status, cost=SimpleNamespace(seconds=seconds, cpus=2.0, gpus=gpus))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_stage_has_a_line_of_its_own_and_ends_with_its_counts(console: Console) -> None:
    observer = ConsoleObserver(console)
    observer.on_start(Stage("trials", total=2, done=1, workers=1))
    observer.on_record(record())
    observer.on_end()
    observer.on_start(Stage("cells", total=5, done=3, workers=1))
    observer.on_record(record("failed", gpus=1.0))
    observer.on_stop_requested()
    observer.on_end()
    lines = text(console).splitlines()
    assert "2/2 trials · 0.2 CPU-h" in lines
    assert any(line.startswith("4/5 · 1 failed · 0.1 GPU-h") for line in lines)
    assert "finishing what is under way; Ctrl-C once more stops at once" in lines


def test_the_remaining_time_moves_from_what_is_expected_to_what_is_measured(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    line = ProgressLine(console, Stage("cells", total=4, done=0, workers=2, expected_seconds=80.0))
    assert line.line() == "0/4 · ETA 40s"
    now = 30.0
    line.add(record(seconds=30.0))
    assert line.line().endswith("ETA 45s"), "a quarter of 90 s as measured, three quarters of 30 s as expected"


def test_nothing_is_known_of_cells_that_were_never_measured(console: Console) -> None:
    assert ProgressLine(console, Stage("cells", total=4, done=0, workers=2)).line() == "0/4"
