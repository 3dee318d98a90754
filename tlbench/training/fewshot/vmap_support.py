"""Whether ``torch.func.vmap`` may run several episodes through a network at once with the same results as a loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# Normalisations with correct second derivatives under vmap; those of all others are wrong.
_CORRECT_NORMS = ("group_norm", "vector_norm")


class _CalledOperators(TorchDispatchMode):
    """Records the operators that are called inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: set[torch._ops.OpOverload] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators.add(func)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def supports_vmap(network: nn.Module, x: Tensor) -> bool:
    """Return whether results and second derivatives of a network are correct under ``torch.func.vmap``.

    They are not where a fused kernel normalises (batch, layer and instance normalisation have wrong second derivatives
    there, without any error), nor where the network draws random numbers.

    Args:
        network: In the mode in which it is trained.
        x: A few inputs, for one forward pass.
    """
    with _CalledOperators() as called:
        network(x)
    return not any(_is_unsafe(operator) for operator in called.operators)


def _is_unsafe(operator: torch._ops.OpOverload) -> bool:
    name = str(operator)
    random = torch.Tag.nondeterministic_seeded in operator.tags
    return random or ("norm" in name and not any(correct in name for correct in _CORRECT_NORMS))
