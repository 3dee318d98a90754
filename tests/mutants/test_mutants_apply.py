"""Every mutant still applies; whether tests notice it is shown by ``mutate.py``."""

from __future__ import annotations

import pytest
from mutate import complaints, mutants


@pytest.mark.slow
def test_all_mutants_apply() -> None:
    assert list(complaints(mutants()).values()) == []
