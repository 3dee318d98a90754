"""Whether ``vmap`` may run several episodes through a network at once, and give what a loop gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_RIGHT = ("group_norm", "vector_norm")  # of all that normalises; others have wrong second derivatives under vmap


class _Calls(TorchDispatchMode):
    """Keeps the operators that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch._ops.OpOverload] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func)
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def supports_vmap(network: nn.Module, x: Tensor) -> bool:
    """Say whether second derivatives through a network are right under ``torch.func.vmap``, and its answers the same.

    They are not where a fused kernel normalises (batch, layer and instance normalisation have wrong second
    derivatives there, and no error says so), nor where the network draws random numbers.

    Args:
        network: In the mode in which it is trained.
        x: A few inputs, of which the network is asked once.
    """
    with _Calls() as calls:
        network(x)
    return not any(_misleads(call) for call in calls.seen)


def _misleads(call: torch._ops.OpOverload) -> bool:
    name = str(call)
    random = torch.Tag.nondeterministic_seeded in call.tags
    return random or ("norm" in name and not any(right in name for right in _RIGHT))
