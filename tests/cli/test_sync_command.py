"""The command sync."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_sync_of_a_suite_that_never_ran_has_nothing_to_send(
    command: Any, file: Callable[..., Path], here: Path
) -> None:
    assert command("sync", file()) == (0, "nothing to send: no cell of looked has run\n", "")
    assert not (here / "workspace" / "mlflow.db").exists()
