"""Packages of plug-ins as a third party would install them, written by tests and found by this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tlbench.plugins import code_mark, module_text, registry
from tlbench.plugins.discovery import find


def write_package(folder: Path, package: str, modules: Mapping[str, str], points: Mapping[str, list[str]]) -> Path:
    """Write a package with its entry points, and return the folder to import it from.

    Args:
        folder: Where to write.
        package: Name of the package.
        modules: Text of each module, by name.
        points: Names of the modules that are plug-ins, by kind (``methods``, ``protocols``, ...).
    """
    code, about = folder / package, folder / f"{package}-1.dist-info"
    code.mkdir(parents=True)
    about.mkdir()
    (code / "__init__.py").touch()
    for name, text in modules.items():
        (code / f"{name}.py").write_text(text)
    lines = [
        line
        for kind, names in points.items()
        for line in (f"[tlbench.{kind}]", *(f"{name} = {package}.{name}" for name in names))
    ]
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1\n")
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def forget_plugins(*packages: str) -> None:
    """Make this process look for plug-ins again, as a new process does, and import these packages again."""
    importlib.invalidate_caches()
    for cached in (find, registry._read, code_mark._marks, code_mark.execution_mark, module_text.read_module_text):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


@contextmanager
def installed(*folders: Path) -> Iterator[None]:
    """Let this process find the packages in some folders, for the duration of a context."""
    packages = [path.name for folder in folders for path in folder.iterdir() if path.suffix != ".dist-info"]
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    forget_plugins(*packages)
    try:
        yield
    finally:
        sys.path[:] = before
        forget_plugins(*packages)
