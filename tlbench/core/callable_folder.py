"""Folders of modules that can be called: ``tlbench.report(...)`` beside ``tlbench.report.page``."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect


class CallableFolder(ModuleType):
    """A folder of modules that is the function of its name, too: ``tlbench.report(...)`` and ``tlbench.report.page``.

    The import system binds a folder's name in its package whenever a module in it is imported, so that a function of
    this name would be lost.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function."""
        return self._function(*args, **options)

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # of the function, which is what a notebook's help is asked for
        return str(self._function.__doc__)

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(f"tlbench.api.{name}"), name)
