"""The code mark: by which a result is known to be stale, and which no renaming and no moving changes.

A mark is ``m2:`` and a hash of a plug-in's file together with all that it calls, directly or through others. It is a
Merkle hash over definitions: each top-level function, class or constant is hashed in its normal form
(:mod:`tlbench.plugins.normal_form`), in which every name of another definition of the package is replaced by the hash
of that definition. So neither the name of a definition, nor the file in which it stands, nor the way in which it is
imported is part of any mark; what it does is. Definitions that refer to one another are hashed as one group.

What counts:

* Of the plug-in's file, its interface: the names that other code finds by name, as ``fit``, ``Config`` or
  ``FROZEN_BACKBONE``, together with these names; and all that they reach. Constants that only decide which cells there
  are, or how the plug-in is tested, do not count (``NO_PART``).
* Of all other files of the package (for a third party's plug-in also of its own package): what is reached, in whatever
  room, ``core`` included. Imports are followed inside functions too, and through re-exports.
* Of every module from which anything is reached, and of the packages around it: the statements that run on import and
  are no definitions.
* A class counts whole, and so does a module that is used as a value. All branches of a conditional definition count,
  and all assignments to one name.

What does not count:

* ``INFRASTRUCTURE``: rooms and modules that decide what runs, where, and what is kept of it.
* What is found by its name at run time, as plug-ins are. Datasets and backbone families are covered by the versions and
  fingerprints in cells' ids.
* Methods of an argument whose class is not reached in another way, since the annotations of functions are left out.
  What the worker hands to every method and protocol is covered by :func:`execution_mark`, which is a part of every
  result's mark beside those of its method and its protocol.
* Names of classes. Code must not decide by ``type(x).__name__`` over classes of the package, only over those of other
  libraries.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tlbench.plugins.definitions import Definition, Module, Sources
from tlbench.plugins.merkle import Merkle, digest
from tlbench.plugins.normal_form import Key, node_of, normal_form

FORM = "m2:"
"""Begins every mark; results made before marks had this form count as stale."""

INFRASTRUCTURE = (
    *("store", "planning", "runner", "audit", "report", "cli", "suite", "testing", "plugins"),
    *("core.errors", "core.record", "core.cost"),
    *("worker.artifact_jobs", "worker.artifact_transfer", "worker.build_artifact", "worker.build_once", "worker.cache"),
    *("worker.cost_meter", "worker.load_inputs", "worker.memory_allocator", "worker.pretrain", "worker.process"),
    *(
        "worker.provenance",
        "worker.shared_costs",
        "worker.teacher",
        "worker.training_observer",
        "worker.worker_resources",
    ),
)
"""Rooms and modules that decide what runs, where and when, and what is kept of it. The walk stops at them."""

EXECUTION = (
    ("tlbench.worker.fit_cell", "fit_cell"),
    ("tlbench.data.dataset", "Dataset"),
    ("tlbench.backbones.backbone", "Backbone"),
)
"""What every cell passes through whatever its method and protocol, and what it hands to these."""

TEXT_EXECUTION = (("tlbench.worker.text_reading", "tokenizer_for"), ("tlbench.worker.text_reading", "read_texts"))
"""What cells of text backbones pass through besides."""

NO_PART = frozenset(("PROTOCOLS", "MODALITIES", "QUICK", "skip"))
"""Names of a plug-in's interface that decide which cells there are, or how it is tested, and no result."""

_ALWAYS = ("Config", "Options")
AND = "+"
_LENGTH = 16
_PACKAGE = __name__.partition(".")[0]
_FOLDER = Path(__file__).parents[1]


def code_mark(module: str, path: Path) -> str:
    """Return the mark of a plug-in's code, as it is when its files are first read.

    Args:
        module: Dotted name.
        path: Its file.
    """
    parts = module.split(".")
    inner = parts[1:] if path.name != "__init__.py" else [*parts[1:], "__init__"]
    folder = path.with_suffix("") if not inner else path.parents[len(inner) - 1]
    return _marks(parts[0], folder).of_plugin(module)


@cache
def execution_mark(*, text: bool) -> str:
    """Return the mark of the code that cells share: fitting under a protocol, seeds, segments, the context of methods.

    Args:
        text: Whether the cell's backbone reads text.
    """
    marks = _marks(_PACKAGE, _FOLDER)
    return AND.join(marks.of_definitions(names) for names in ((EXECUTION, TEXT_EXECUTION) if text else (EXECUTION,)))


class CodeMarks:
    """Marks of the code of some packages, as their files are when they are first read.

    Args:
        folders: The folder of each top-level package; of a package that is a single file, its path without ``.py``.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self._sources = Sources(folders, frozenset(f"{_PACKAGE}.{each}" for each in INFRASTRUCTURE))
        self._graph: Merkle[Key] = Merkle(lambda key: normal_form(key, self._sources))

    def of_plugin(self, module: str) -> str:
        """Return the mark of a plug-in's file: of its interface and all that this reaches."""
        return self._mark(self._interface(self.module(module)))

    def of_definitions(self, names: Iterable[tuple[str, str]]) -> str:
        """Return one mark of some definitions, given as (module, name), and of all that they reach."""
        found = []
        for number, (module, name) in enumerate(names):
            target = self._sources.attribute(self.module(module), name)
            if not isinstance(target, Definition):
                raise ValueError(f"{module} defines no {name}")
            found.append((str(number), target))
        return self._mark(found)

    def reached(self, module: str) -> set[Key]:
        """Return what a plug-in's mark depends on."""
        return self._reach(node_of(each.module, each.name)[0] for _, each in self._interface(self.module(module)))

    def _mark(self, roots: Iterable[tuple[str, Definition]]) -> str:
        parts, keys = [], []
        for name, root in roots:
            key, which = node_of(root.module, root.name)
            keys.append(key)
            parts.append(f"{name}={self._graph.hash(key)}:{which}")
        loose = {self._graph.hash(key) for key in self._reach(keys) if self._is_loose(key)}
        return FORM + digest("\n".join([*sorted(parts), *sorted(loose)]))[:_LENGTH]

    def _reach(self, keys: Iterable[Key]) -> set[Key]:
        """Return some definitions, all that they reach, and what runs when the modules of all of these are imported."""
        reached = self._graph.reach(keys)
        modules: set[str] = set()
        while new := {each for name in {key[0] for key in reached} for each in _with_packages(name)} - modules:
            modules |= new
            reached = self._graph.reach(reached | {key for name in new for key in self._loose(name)})
        return reached

    def _loose(self, name: str) -> list[Key]:
        module = self._sources.module(name)
        return [(name, position) for position in module.loose] if isinstance(module, Module) else []

    def _is_loose(self, key: Key) -> bool:
        return key in self._loose(key[0])

    def _interface(self, module: Module) -> Iterator[tuple[str, Definition]]:
        """Yield what other code finds in a plug-in's file by name: what nothing in the file itself uses."""
        users: dict[str, set[int]] = {}
        for position, statement in enumerate(module.statements):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    users.setdefault(node.id, set()).add(position)
        for name in (*module.defined, *module.imports):
            if name.startswith("_") or name in NO_PART:
                continue
            if name in _ALWAYS or users.get(name, set()).issubset(module.defined.get(name, ())):
                target = self._sources.attribute(module, name)
                if isinstance(target, Definition):
                    yield name, target

    def module(self, name: str) -> Module:
        """Return a module of the packages.

        Raises:
            ValueError: There is none of that name, or it counts as infrastructure.
        """
        module = self._sources.module(name)
        if not isinstance(module, Module):
            raise ValueError(f"{name} is no module of the packages whose marks are taken")
        return module


def _with_packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


@cache
def _marks(package: str, folder: Path) -> CodeMarks:
    return CodeMarks({_PACKAGE: _FOLDER, package: folder})
