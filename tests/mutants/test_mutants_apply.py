"""Every mutant still finds the text that it changes; whether tests notice it is shown by ``mutate.py``."""

from __future__ import annotations

import pytest
from mutant import Mutant
from mutate import ROOT, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_mutant_applies(mutant: Mutant) -> None:
    assert (ROOT / "tlbench" / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert (ROOT / mutant.tests.partition("::")[0]).exists()
