"""Metrics by name: what each declares, read without importing torch.

A metric decides what a cell chooses by on validation, and what its test score, intervals, ranks and comparisons are of.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.plugins.code_mark import code_mark
from tlbench.plugins.constants import read_constants
from tlbench.plugins.discovery import Plugin, find
from tlbench.plugins.module_text import read_module_text

METRIC = "metric"
"""Option of a protocol that names the metric."""
USUAL = "accuracy"


class MetricConstants(Settings):
    """The constants that the file of a metric may set."""

    LABEL: str = Field(min_length=1, description="what people call it, e.g. macro-F1")
    UNIT: Literal["percent", "nats"] = Field("percent", description="percent: a share, told in percent; nats: as it is")
    LARGER_IS_BETTER: bool = Field(True, description="whether a larger value is the better one")


@dataclass(frozen=True)
class MetricDeclaration:
    """What the file of a metric declares.

    Attributes:
        name: The file's name without ``.py``, or the entry point's name.
        summary: First line of the docstring.
        constants: The public upper-case constants of the file.
        plugin: Where it is.
    """

    name: str
    summary: str
    constants: MetricConstants
    plugin: Plugin

    @property
    def code_mark(self) -> str:
        """Mark of the code (:mod:`tlbench.plugins.code_mark`), by which results are known to be stale."""
        return code_mark(self.plugin.module, self.plugin.path)

    @property
    def sign(self) -> int:
        """What a value is multiplied by, so that larger is better: 1 or -1."""
        return 1 if self.constants.LARGER_IS_BETTER else -1


def metric_names() -> tuple[str, ...]:
    """Return the sorted names of all metrics."""
    return tuple(find("metrics"))


@cache
def metric_declaration(name: str) -> MetricDeclaration:
    """Read what a metric declares.

    Raises:
        UserError: The name is unknown; or the file defines no ``value``, or sets a constant that is unknown, missing or
            of the wrong type.
    """
    plugins = find("metrics")
    if name not in plugins:
        raise UserError(f"unknown metric {name!r}", nearest(name, plugins))
    plugin = plugins[name]
    text = read_module_text(plugin.path)
    if "value" not in text.definitions:
        raise UserError(f"{plugin.path}: the file of a metric defines 'value'", nearest("value", text.definitions))
    constants = read_constants(MetricConstants, text, _plain_values(plugin))
    return MetricDeclaration(name, text.summary, constants, plugin)


def _plain_values(plugin: Plugin) -> dict[str, Any]:
    """Return what the file assigns at its top level, as far as it is written out."""
    found: dict[str, Any] = {}
    for node in ast.parse(plugin.path.read_bytes()).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name):
            try:
                found[target.id] = ast.literal_eval(node.value)
            except ValueError:
                found[target.id] = node
    return found
