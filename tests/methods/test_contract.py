"""Every method that is found keeps the contract; a new method file is tested without touching this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlbench.testing import contract

CASES = [
    pytest.param(check, case, id=f"{contract.title(check)}-{case}")
    for case in contract.cases()  # all checks of one case after each other, which share its fit
    for check in contract.CHECKS
]


@pytest.fixture(scope="module", autouse=True)
def shared_fits() -> Iterator[None]:
    with contract.shared_fits():
        yield


@pytest.mark.parametrize(("check", "case"), CASES)
def test_contract(check: Callable[[contract.Case, Path], None], case: contract.Case, tmp_path: Path) -> None:
    try:
        check(case, tmp_path)
    except contract.RefusedError as reason:
        pytest.skip(f"not applicable to the fake: {reason}")


def test_declarations_are_read_without_torch() -> None:
    code = (
        "import sys\n"
        "from tlbench.plugins import registry\n"
        "for name in registry.names('methods'):\n"
        "    declared = registry.declaration('methods', name)\n"
        "    declared.settings.model_json_schema()\n"
        "    assert declared.roles, name\n"
        "print(*(name for name in ('torch', 'numpy', 'scipy', 'ray', 'mlflow') if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
