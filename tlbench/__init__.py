"""tlbench compares transfer-learning methods on equal terms: one suite in, one leaderboard out.

From Python, each command has a function: :func:`plan`, :func:`run`, :func:`results`, :func:`leaderboard`,
:func:`rescore`, :func:`report`, :func:`export` and :func:`load`. A suite is a file, a dictionary or a :class:`Suite`.
Mistakes are :class:`UserError`. Importing the package loads none of the large libraries; the functions do when they
are called.
"""

from __future__ import annotations

import importlib
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tlbench.core.errors import UserError

if TYPE_CHECKING:
    from tlbench.api.export import export
    from tlbench.api.leaderboard import leaderboard
    from tlbench.api.plan import plan
    from tlbench.api.report import report
    from tlbench.api.rescore import rescore
    from tlbench.api.results import results
    from tlbench.api.run import run
    from tlbench.inference.model import Model
    from tlbench.suite.spec import BackboneSpec, DatasetSpec, Grid, MethodSpec, Suite

__version__ = version("tlbench")
__all__ = [
    "BackboneSpec", "DatasetSpec", "Grid", "MethodSpec", "Suite", "UserError", "__version__", "export", "leaderboard",
    "load", "plan", "report", "rescore", "results", "run",
]  # fmt: skip

_FOLDERS = ("report", "export")  # functions that share their names with folders (tlbench.core.callable_folder)
_SPEC = "tlbench.suite.spec"
_PLACES = {
    "plan": "tlbench.api.plan",
    "run": "tlbench.api.run",
    "results": "tlbench.api.results",
    "leaderboard": "tlbench.api.leaderboard",
    "rescore": "tlbench.api.rescore",
    **dict.fromkeys(("Suite", "Grid", "MethodSpec", "BackboneSpec", "DatasetSpec"), _SPEC),
}


def load(folder: str | os.PathLike[str], device: str | None = None) -> Model:
    """Return the model in a folder that :func:`export` wrote; ``.predict(inputs)`` answers.

    Args:
        folder: The folder.
        device: Where to run it, as torch names it; None is a GPU where there is one, else the CPU.

    Raises:
        tlbench.core.errors.UserError: It is no such folder, of a newer version, or damaged; or a library that it needs
            is missing.
    """
    from tlbench.inference.model import load_model

    return load_model(folder, device)


def __getattr__(name: str) -> Any:
    """Import what the package offers when it is first asked for."""
    if name in _FOLDERS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES, *_FOLDERS})
