"""Every module of the package can be imported: a name that another room has renamed is noticed in seconds."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, pkgutil, tlbench
for found in pkgutil.walk_packages(tlbench.__path__, "tlbench."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def test_every_module_can_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
