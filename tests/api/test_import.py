"""``import tlbench``: light, with all that it offers, though two of its functions share their names with folders."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import tlbench

HEAVY = (
    "torch",
    "torchvision",
    "ray",
    "mlflow",
    "sklearn",
    "matplotlib",
    "pandas",
    "numpy",
    "scipy",
    "rich",
    "pydantic",
)


def loaded(code: str) -> set[str]:
    """Return which large packages a fresh interpreter has imported after running some code."""
    report = f"import sys\n{code}\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=120, check=True)
    return set(next(line for line in done.stdout.splitlines() if line.startswith("LOADED")).split()[1:])


def test_importing_the_package_loads_nothing_large() -> None:
    assert loaded("import tlbench") == set()
    every = "import tlbench\n[getattr(tlbench, name) for name in tlbench.__all__]"
    assert loaded(every) & {"torch", "torchvision", "ray", "mlflow", "pandas"} == set()


def test_all_that_is_offered_is_there_and_documented() -> None:
    for name in tlbench.__all__:
        assert getattr(tlbench, name) is not None
        assert name in dir(tlbench)
    with pytest.raises(AttributeError, match="has no attribute 'rum'"):
        _ = tlbench.rum
    for name in ("plan", "run", "results", "leaderboard", "load"):
        assert "Args:" in (getattr(tlbench, name).__doc__ or ""), name


@pytest.mark.parametrize("name", ["report", "export"])
def test_a_folder_of_modules_is_the_function_of_its_name(name: str) -> None:
    import tlbench.export.licences
    import tlbench.report.results
    from tlbench.api import export, report

    function = {"report": report.report, "export": export.export}[name]
    folder = getattr(tlbench, name)
    assert callable(folder)
    assert inspect.signature(folder) == inspect.signature(function)
    assert folder.__doc__ == function.__doc__
    assert tlbench.report.results.load.__name__ == "load", "modules in it are reached as ever"
    with pytest.raises(tlbench.UserError, match="no such file"):
        tlbench.report("nowhere.yaml")
