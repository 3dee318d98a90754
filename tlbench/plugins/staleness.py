"""Whether a result comes from code that has changed since: one rule for plans, searches, reports and audits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tlbench.core.cell import Cell, method_mark
from tlbench.core.errors import UserError
from tlbench.plugins import registry
from tlbench.plugins.code_mark import AND, execution_mark
from tlbench.plugins.metrics import METRIC, USUAL, metric_declaration, metric_names
from tlbench.plugins.registry import Declare, Kind


class Marks(NamedTuple):
    """The code marks of a result, each several marks with ``+`` between. An empty one counts as unchanged.

    Attributes:
        method: Of the method; then of the pre-training runs, and of the teacher, that it started from.
        protocol: Of the protocol; then of the code that all cells share.
    """

    method: str = ""
    protocol: str = ""

    @classmethod
    def of_provenance(cls, provenance: Mapping[str, Any]) -> Marks:
        """Read the marks that a record keeps."""
        return cls(str(provenance.get("method_source", "")), str(provenance.get("protocol_source", "")))

    @property
    def as_provenance(self) -> dict[str, str]:
        """The marks as a record keeps them."""
        return {"method_source": self.method, "protocol_source": self.protocol}


class InstalledCode:
    """The marks of the code as it is installed here, each computed when it is first asked for.

    Args:
        declare: Reads the declaration of a method or protocol.
        methods: Returns the names of all methods.
    """

    def __init__(
        self,
        declare: Declare = registry.declaration,
        methods: Callable[[], tuple[str, ...]] = lambda: registry.names("methods"),
    ) -> None:
        self._declare = declare
        self._methods = methods
        self._changed: dict[tuple[str, str, Marks], bool] = {}

    def marks(self, cell: Cell) -> Marks:
        """Return the marks that a result of a cell has if it is computed now.

        Raises:
            UserError: Its method or its protocol is not installed.
        """
        protocol = self._declare("protocols", cell.protocol.name).code_mark
        shared = execution_mark(text=cell.backbone.info.modality == "text")
        method = method_mark(cell.method, cell.backbone, lambda name: self._declare("methods", name).code_mark)
        metric = cell.protocol.options.get(METRIC, USUAL)
        scored_by = "" if metric == USUAL else f"{AND}{metric_declaration(str(metric)).code_mark}"
        return Marks(method, f"{protocol}{AND}{shared}{scored_by}")

    def has_changed(self, method: str, protocol: str, marks: Marks) -> bool:
        """Say whether any code behind a result has changed since.

        What comes from a method or a protocol that is not installed counts as unchanged.

        Args:
            method: Name of the method.
            protocol: Name of the protocol.
            marks: The result's.
        """
        known = (method, protocol, marks)
        if known not in self._changed:
            own, *learnt_from = marks.method.split(AND)
            posed, *shared = marks.protocol.split(AND)
            self._changed[known] = (
                self._is_other("methods", method, own)
                or self._is_other("protocols", protocol, posed)
                or not _all_known(shared, _of_all_cells)
                or not _all_known(learnt_from, self._of_methods)
            )
        return self._changed[known]

    def _is_other(self, kind: Kind, name: str, mark: str) -> bool:
        try:
            return mark not in ("", self._declare(kind, name).code_mark)
        except UserError:
            return False

    def _of_methods(self) -> Iterator[str]:
        for name in self._methods():
            yield self._declare("methods", name).code_mark


def _of_all_cells() -> Iterator[str]:
    """Yield the marks of the code that all cells share, and of the metrics."""
    yield from execution_mark(text=True).split(AND)
    for name in metric_names():
        yield metric_declaration(name).code_mark


def _all_known(marks: list[str], known: Callable[[], Iterator[str]]) -> bool:
    return all(not mark or any(mark == each for each in known()) for mark in marks)
