"""The metric that a suite chooses: its value, and the scores of single examples whose mean is that value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.errors import UserError
from tlbench.plugins.metrics import METRIC, USUAL, MetricDeclaration, metric_declaration

_GROUPS = 200  # left out in turn, where a metric has no influence function


@dataclass(frozen=True)
class Metric:
    """A metric, ready to be computed.

    Attributes:
        declared: Name, label, unit and direction.
        module: The module that defines ``value``, and maybe ``influence``.
    """

    declared: MetricDeclaration
    module: ModuleType

    @property
    def name(self) -> str:
        """The name in a suite."""
        return self.declared.name

    def value(self, logits: Tensor, labels: Tensor) -> float:
        """Return the value of logits (..., classes) for labels (...).

        Raises:
            UserError: The metric is not defined for these labels, or is not a finite number.
        """
        found = float(self.module.value(logits.flatten(0, -2), labels.flatten()))
        if not np.isfinite(found):
            raise UserError(f"metric {self.name}: the value is {found}, not a finite number")
        return found

    def example_scores(self, logits: Tensor, labels: Tensor) -> NDArray[np.float32]:
        """Return one score an example (n,), larger is better; their mean is the value, or minus it.

        The value plus what the example contributes beyond it: by the metric's influence function, else by the
        delete-a-group jackknife (J. Shao and C. F. J. Wu 1989, Annals of Statistics 17:1176).

        Args:
            logits: Logits (n, classes).
            labels: Labels (n,).
        """
        value = self.value(logits, labels)
        if hasattr(self.module, "influence"):
            beyond = self.module.influence(logits, labels).numpy()
        else:
            beyond = self._left_out(value, logits, labels)
        scores: NDArray[np.float32] = (self.declared.sign * (value + beyond)).astype(np.float32)
        return scores

    def _left_out(self, value: float, logits: Tensor, labels: Tensor) -> NDArray[np.float64]:
        """Return what examples contribute, the same to all of a group (n,)."""
        n = len(labels)
        members = torch.arange(n) % min(n, _GROUPS)
        groups = int(members.max()) + 1
        found: NDArray[np.float64] = np.zeros(n)
        for group in range(groups):
            kept = members != group
            without = float(self.module.value(logits[kept], labels[kept])) if groups > 1 else value
            found[~kept.numpy()] = (value - without) * int(kept.sum()) / int((~kept).sum())
        found -= found.mean()
        return found


@cache
def metric_of(name: str) -> Metric:
    """Return a metric by name.

    Raises:
        UserError: There is none of this name, or its module cannot be imported.
    """
    declared = metric_declaration(name)
    try:
        return Metric(declared, declared.plugin.load())
    except ImportError as error:
        raise UserError(f"{declared.plugin.path}: the metric {name!r} cannot be imported: {error}") from error


def chosen_metric(options: Mapping[str, object]) -> Metric | None:
    """Return the metric that a protocol's options name; None where it is accuracy, or where they name none."""
    name = options.get(METRIC, USUAL)
    return None if name == USUAL else metric_of(str(name))
