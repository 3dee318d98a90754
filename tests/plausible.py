"""Records as runs make them, for the tests of the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlbench.core.cell import BackboneChoice, Cell, DatasetChoice, MethodChoice, ProtocolChoice
from tlbench.core.info import BackboneInfo, DatasetInfo
from tlbench.core.record import Cost, Footprint, Outcome, Record, pack_bits

STARTED = 1_700_000_000.25
PROVENANCE = {
    "python": "3.11.7", "tlbench": "0.1.0", "torch": "2.15.0", "torchvision": "0.29.0", "ray": "2.60.0",
    "numpy": "2.4.0", "scipy": "1.17.0", "host": "box", "platform": "Linux-6.1-x86_64", "processor": "Some CPU @ 2 GHz",
    "gpu": "", "commit": "0123456789ab-dirty", "method_source": "m" * 16, "protocol_source": "p" * 16, "threads": 1,
    "workers": 1, "attempt": 1, "slot": 0,
}  # fmt: skip


def describe(cell: str, seed: int = 0, **params: Any) -> dict[str, Any]:
    """What ``Cell.describe`` says of a linear probe."""
    recipe = {"name": "conv4", "family": "conv4", "weights": {"kind": "random"}, "image_size": 32, "channels": 1}
    dataset = DatasetInfo("digits", "image", "f" * 64, tuple("0123456789"), (1, 32, 32), {"train": (100,) * 10})
    return Cell(
        id=cell,
        protocol=ProtocolChoice("classification", 1, {"val_fraction": 0.2, "min_val": 1}),
        method=MethodChoice("linear_probe", {f"p{n}": 0.5 * n for n in range(17)} | params, "linear_probe"),
        backbone=BackboneChoice(BackboneInfo("conv4", "conv4", "image", "conv4/random", recipe), "b" * 16),
        dataset=DatasetChoice("digits", {}, dataset),
        shots=5,
        seed=seed,
    ).describe()


def make_record(
    cell: str, *, accuracy: float = 0.8, epochs: int = 5, failed: bool = False, seconds: float = 3.5, seed: int = 0
) -> Record:
    """A finished cell with some 30 parameters, 20 tags and 40 metric points, or one that failed."""
    bits = np.packbits(np.random.default_rng(len(cell) + seed).random(540) < accuracy)
    curves = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
    outcome = Outcome(
        scores={"accuracy": accuracy, "macro_f1": accuracy - 0.01, "nll": 0.7, "ece": 0.04},
        validation={"accuracy": 0.79, "nll": 0.72},
        curves={name: [(epoch, 1.0 / (epoch + 1)) for epoch in range(epochs)] for name in curves},
        selected={"C": 1.0},
        tests=540,
        correct=pack_bits(bits.tobytes()),
        logits="a" * 32,
        footprint=Footprint(trainable=650, total=112_000, stored_bytes=2600),
    )
    return Record(
        cell=describe(cell, seed),
        status="failed" if failed else "done",
        outcome=None if failed else outcome,
        cost=Cost(
            seconds=seconds, train_seconds=2, cpu_seconds=3, peak_memory=5 * 10**8, gpus=0, cpus=1, started=STARTED
        ),
        provenance=PROVENANCE,
        error={"type": "ValueError", "message": "no such thing", "traceback": "..."} if failed else None,
    )
