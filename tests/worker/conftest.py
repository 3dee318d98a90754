"""Shared by the tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import student_methods
from outside_plugins import installed


@pytest.fixture
def methods(tmp_path: Path) -> Iterator[Path]:
    """The methods ``copy`` and ``odd``, as if they had been installed; the folder to import them from."""
    folder = student_methods.install(tmp_path / "installed")
    with installed(folder):
        yield folder
