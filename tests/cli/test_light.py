"""The command line starts light: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "ray", "mlflow", "sklearn", "matplotlib", "pandas", "scipy")


def loaded(code: str) -> set[str]:
    """Return which heavy packages a fresh interpreter has imported after running some code."""
    report = f"import sys\n{code}\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=120, check=True)
    return set(next(line for line in done.stdout.splitlines() if line.startswith("LOADED")).split()[1:])


COMMAND = """
from tlbench.cli import main
sys.argv = ["tlbench", *{args!r}]
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
"""


def test_importing_the_command_line_and_asking_for_help_load_nothing_heavy() -> None:
    assert loaded("import tlbench.cli") == set()
    assert loaded(COMMAND.format(args=["--help"])) == set()


@pytest.mark.parametrize("args", [["list", "methods"], ["list", "backbones"], ["list", "datasets"], ["schema"]])
def test_lists_and_schema_load_neither_torch_nor_ray_nor_mlflow(args: list[str]) -> None:
    assert loaded(COMMAND.format(args=args)) & {"torch", "torchvision", "ray", "mlflow"} == set()


def test_rooms_that_only_plan_and_report_load_neither_torch_nor_ray_nor_mlflow() -> None:
    names = "suite.load suite.plan suite.json_schema search.study planning.prepare stats.intervals report.page"
    imports = "\n".join(f"import tlbench.{name}" for name in names.split())
    imports += "\nfrom tlbench.report.built_sections import load_sections\nassert load_sections()[0]"
    assert loaded(imports) & {"torch", "torchvision", "ray", "mlflow"} == set()
