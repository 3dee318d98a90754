"""Which network with published weights this machine can run, and how long it takes an example."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tlbench.core.errors import UserError
from tlbench.core.info import BackboneInfo

CANDIDATES: dict[str, tuple[tuple[str, str], ...]] = {
    "image": (("timm:tf_efficientnet_lite0", "timm"), ("efficientnet_b0", "torchvision"), ("resnet18", "torchvision")),
    "text": (("hf:sentence-transformers/all-MiniLM-L6-v2", "hf"),),
}
"""Networks to try in turn, with their weights: small ones whose features are good."""

_SIDES = (128, 96, 64)  # pixels, where the side that a network was made for takes too long
_MEASURED = 8  # examples of the forward pass that is measured
_TOKENS_PER_WORD = 1.4


@dataclass(frozen=True)
class Network:
    """A network and its price.

    Attributes:
        spec: The backbone as a suite gives it.
        info: Its facts.
        seconds: CPU-seconds of a forward pass of one example on one thread, at the size it was made for.
        refused: Networks that were tried before, with why they cannot be had.
    """

    spec: dict[str, Any]
    info: BackboneInfo
    seconds: float
    refused: tuple[str, ...]

    def sides(self) -> Iterator[tuple[int | None, float]]:
        """Yield sides of images, from the best on, with the seconds of an example; texts have none."""
        made_for = self.info.made_for
        yield (made_for or None, self.seconds)
        for side in _SIDES:
            if side < made_for:
                yield side, self.seconds * (side / made_for) ** 2


def find_network(modality: str, words: int) -> Network:
    """Return the first network of :data:`CANDIDATES` that can be had, after a forward pass of it.

    Args:
        modality: ``image`` or ``text``.
        words: Words of a text.

    Raises:
        UserError: None can be had; the message says why of each.
    """
    from tlbench.backbones import catalog

    refused: list[str] = []
    for name, kind in CANDIDATES[modality]:
        try:
            info = catalog.describe(name, {}, {"kind": kind, "name": "DEFAULT"})
            seconds = _measure(info, words)
        except UserError as error:
            refused.append(error.message)
            continue
        return Network({"name": name, "weights": kind}, info, seconds, tuple(refused))
    raise UserError(
        "no network with published weights can be had: " + "; ".join(refused),
        "install an extra, timm or hf, and fetch weights where there is a network; "
        "or begin from suites/quickstart.yaml, whose networks learn here",
    )


def _measure(info: BackboneInfo, words: int) -> float:
    """Return the CPU-seconds of a forward pass of one example."""
    import torch

    from tlbench.backbones import catalog

    backbone = catalog.build(info, 0, None).eval()
    if info.modality == "image":
        side, channels = int(info.recipe["image_size"]), int(info.recipe["channels"])
        x = torch.randint(0, 256, (_MEASURED, channels, side, side), dtype=torch.uint8)
    else:
        x = torch.randint(1, 100, (_MEASURED, max(4, round(words * _TOKENS_PER_WORD))), dtype=torch.int32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            backbone(x)
            start = time.process_time()
            backbone(x)
            return (time.process_time() - start) / _MEASURED
    finally:
        torch.set_num_threads(threads)
