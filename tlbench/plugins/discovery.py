"""Where plug-ins are found: files of a folder of this package, and entry points of other distributions.

Every kind of plug-in has a folder, in which the name of a file is the name of the plug-in, and a group of entry points,
in which a distribution maps a name to a module. A file of this package wins over an entry point of the same name. Files
whose name begins with an underscore are no plug-ins.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

Kind = Literal[
    "methods", "protocols", "datasets", "backbones", "metrics", "report_sections", "samplers", "search_schedulers"
]

_FOLDERS: dict[Kind, str] = {
    "methods": "methods",
    "protocols": "protocols",
    "datasets": "data.sources",
    "backbones": "backbones.families",
    "metrics": "metrics",
    "report_sections": "report.sections",
    "samplers": "search.samplers",
    "search_schedulers": "search.schedulers",
}
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Plugin:
    """A module that adds one thing of a kind.

    Attributes:
        name: The file's name without ``.py``, or the name of the entry point.
        module: Dotted name of the module.
        path: Its source file.
    """

    name: str
    module: str
    path: Path

    @property
    def shipped(self) -> bool:
        """Whether it is part of this package; where two plug-ins offer the same thing, shipped ones come first."""
        return self.path.is_relative_to(_PACKAGE)

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(self.module)


@cache
def find(kind: Kind) -> dict[str, Plugin]:
    """Return all plug-ins of a kind by name, sorted, without importing any of them.

    The entry points of a kind belong to the group ``tlbench.KIND``, e.g. ``tlbench.methods``.
    """
    dotted = _FOLDERS[kind]
    folder = _PACKAGE.joinpath(*dotted.split("."))
    found = {
        path.stem: Plugin(path.stem, f"tlbench.{dotted}.{path.stem}", path)
        for path in folder.glob("*.py")
        if not path.stem.startswith("_")
    }
    for point in entry_points(group=f"tlbench.{kind}"):
        try:
            spec = importlib.util.find_spec(point.value)
        except ModuleNotFoundError:  # the distribution that declared it is only partly installed
            continue
        if spec is not None and spec.origin is not None and point.name not in found:
            found[point.name] = Plugin(point.name, point.value, Path(spec.origin))
    return dict(sorted(found.items()))
