"""What a file of weights says of how its network was made: names and shapes of tensors, and what stands beside them."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from tlbench.core.errors import UserError
from tlbench.core.info import WeightsContents


def read_contents(file: Path) -> WeightsContents:
    """Return what a file of weights holds, without the values; nothing of a file that cannot be read.

    Only the header of a safetensors file is read, without torch, and only the names in a torch file that is a zip.
    """
    try:
        with safe_open(file, "numpy") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
            return WeightsContents(shapes, dict(opened.metadata() or {}))
    except (OSError, SafetensorError):
        pass
    from tlbench.backbones.weights import read_weights

    try:
        return WeightsContents(
            {name: tuple(tensor.shape) for name, tensor in read_weights(file, names_only=True).items()}, {}
        )
    except UserError:  # whoever loads the weights says so
        return WeightsContents({}, {})
