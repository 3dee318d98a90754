"""One defect put into the package, that the tests must notice."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from snippets import Nodes, Place, Slot, children, places, readings, same, walk
from splice import spliced

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "tlbench"

_LISTED = {"args", "elts", "ifs", "bases", "values"}  # fields with expressions that may be left out


class DoesNotApplyError(Exception):
    """A mutant that the package, as it is now, cannot have."""


@dataclass(frozen=True)
class Mutant:
    """In a definition, the snippet ``old`` becomes ``new``; ``tests`` must then fail.

    ``where`` is a dotted module and, after a colon, the qualified name of a function, class, method or constant (for
    loose statements the module alone). ``old`` and ``new`` are snippets, as ``snippets`` has them, of which the first
    stands once in the definition, or else ``nth`` says which is meant, from 1 on. An empty ``new`` leaves ``old`` out.
    A file that is no Python is named by its path from the repository on; there the snippets are plain text.
    """

    name: str
    where: str
    old: str
    new: str
    tests: str
    nth: int | None = None

    @property
    def file(self) -> str:
        """The file that changes, as a path from the repository on."""
        if "/" in self.where:
            return self.where
        path = self.where.partition(":")[0].replace(".", "/")
        return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"

    def mutated(self, root: Path = ROOT) -> str:
        """Return the changed file's text in the repository at ``root``.

        Raises:
            DoesNotApplyError: There is no such definition, or the snippet is not in it exactly once.
        """
        module, _, definition = self.where.partition(":")
        if not (root / self.file).is_file():
            raise self._error(f"there is no {module}", nearest(module, modules(root)))
        text = (root / self.file).read_text()
        if "/" in self.where:
            if (count := text.count(self.old)) != 1:
                raise self._error(f"{self.old!r} occurs {count} times")
            return text.replace(self.old, self.new)
        tree = ast.parse(text)
        known = definitions(tree)
        if definition not in known:
            raise self._error(f"there is no {definition} in {module}", self._moved(root) or nearest(definition, known))
        found = self._places(known[definition])
        if len(found) < (self.nth or 1) or (self.nth is None and len(found) > 1):
            elsewhere = ", ".join(name for name, slots in known.items() if name and self._places(slots))
            hint = elsewhere or similar(self.old, known[definition])
            raise self._error(f"{self.old!r} stands there {len(found)} times", hint)
        try:
            place = found[(self.nth or 1) - 1]
            place.exchange(self._readings[1].get(place.kind, ()))
            changed = spliced(text, tree)
        except ValueError as error:
            raise self._error(str(error)) from None
        if same(ast.parse(text), tree):
            raise self._error("it changes nothing")
        return changed

    @property
    def _readings(self) -> tuple[dict[str, Nodes], dict[str, Nodes]]:
        """What old and new can mean, by the kinds of syntax that both can be."""
        old, new = readings(self.old), readings(self.new)
        if not self.new.strip():
            return old, {}
        kinds = [kind for kind in old if kind in new]
        if "expression" in kinds and "statements" in kinds and len(old["statements"]) == 1:
            kinds.remove("statements")  # a call that is a statement is an expression
        if not kinds:
            raise self._error(f"{self.old!r} and {self.new!r} are no Python of the same kind")
        return {kind: old[kind] for kind in kinds}, new

    def _places(self, slots: Sequence[Slot]) -> list[Place]:
        old, new = self._readings
        found = places(slots, old)
        return [each for each in found if new or each.kind != "expression" or each.slot.field in _LISTED]

    def _moved(self, root: Path) -> str:
        """Return where in the package the definition is now, if it is there."""
        definition = self.where.partition(":")[2]
        places = []
        for module in modules(root):
            text = (root / replace(self, where=module).file).read_text()
            if definition.rpartition(".")[2] in text and definition in definitions(ast.parse(text)):
                places.append(f"{module}:{definition}")
        return ", ".join(sorted(places))

    def _error(self, why: str, instead: str = "") -> DoesNotApplyError:
        hint = f"; see {instead}" if instead else ""
        return DoesNotApplyError(f"{self.name}: {self.where}: {why}{hint}")


def definitions(tree: ast.Module) -> dict[str, list[Slot]]:
    """Return where functions, classes and constants of a module are defined; the empty name is all of the module."""
    found: dict[str, list[Slot]] = {"": list(children(tree))}

    def collect(slots: Iterable[Slot], prefix: str, constants: bool) -> None:
        for slot in slots:
            node, inner, fields = slot.node, prefix, constants
            names = []
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names = [node.name]
                inner, fields = f"{prefix}{node.name}.", isinstance(node, ast.ClassDef)
            elif constants and isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [each.id for target in targets for each in ast.walk(target) if _is_stored(each)]
            for name in names:
                found.setdefault(prefix + name, []).append(slot)
            if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
                collect(children(node), inner, fields)

    collect(found[""], "", True)
    return found


def _is_stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def modules(root: Path) -> list[str]:
    """Return the dotted names of the package's modules."""
    files = (root / PACKAGE).rglob("*.py")
    return [".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files]


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the most alike of some names, first of all one with the same last part."""
    last = [each for each in names if each and each.rpartition(".")[2] == name.rpartition(".")[2]]
    return ", ".join(last or difflib.get_close_matches(name, list(names), 1, 0.3))


def similar(snippet: str, slots: Sequence[Slot]) -> str:
    """Return the piece of a definition that is the most like a snippet; empty if none is."""
    nodes = (slot.node for slot in walk(slots))
    texts = {ast.unparse(node) for node in nodes if isinstance(node, ast.expr | ast.stmt | ast.keyword)}
    return "".join(difflib.get_close_matches(snippet, texts, 1))
