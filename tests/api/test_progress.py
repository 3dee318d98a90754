"""What a run shows while it goes on, where there is no terminal, and in a notebook."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tlbench.api import progress
from tlbench.api.progress import ConsoleObserver, NotebookObserver, StageCount, in_notebook, observer_for
from tlbench.runner.observer import SilentObserver, Stage


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


def test_the_remaining_time_moves_from_what_is_expected_to_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    line = StageCount(Stage("cells", total=4, done=0, workers=2, expected_seconds=80.0))
    assert line.line() == "0/4 · ETA 40s"
    now = 30.0
    line.add(record(seconds=30.0))
    assert line.line().endswith("ETA 45s"), "a quarter of 90 s as measured, three quarters of 30 s as expected"


def test_nothing_is_known_of_cells_that_were_never_measured() -> None:
    assert StageCount(Stage("cells", total=4, done=0, workers=2)).line() == "0/4"


class Handle:
    """What IPython's ``display`` returns: it shows something in the place of what it showed."""

    def __init__(self, first: str) -> None:
        self.shown = [first]

    def update(self, text: str) -> None:
        self.shown.append(text)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """A process that IPython says is a notebook's kernel; what was displayed."""
    displayed: list[Handle] = []

    def display(text: str, display_id: bool) -> Handle:
        assert display_id
        displayed.append(Handle(text))
        return displayed[-1]

    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    shown.display, shown.Pretty = display, str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return displayed


def test_a_notebook_shows_one_changing_line_a_stage(notebook: list[Handle]) -> None:
    observer = observer_for(None)
    assert isinstance(observer, NotebookObserver)
    observer.on_start(Stage("cells", total=2, done=0, workers=1))
    observer.on_record(record())
    observer.on_stop_requested()
    observer.on_record(record())
    observer.on_end()
    observer.on_start(Stage("trials", total=9, done=4, workers=1))
    observer.on_end()
    first, second = (handle.shown for handle in notebook)
    assert first[0] == "0/2"
    assert first[2] == "finishing what is under way; interrupting once more stops at once"
    assert first[-1] == "2/2 · 0.4 CPU-h"
    assert second == ["4/9 trials"]


def test_progress_is_shown_in_notebooks_and_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace()))
    assert not in_notebook(), "IPython in a terminal is no notebook"
    assert isinstance(observer_for(None), SilentObserver)
    assert isinstance(observer_for(True), ConsoleObserver)


def test_a_notebook_may_be_silent(notebook: list[Handle]) -> None:
    assert isinstance(observer_for(False), SilentObserver)
