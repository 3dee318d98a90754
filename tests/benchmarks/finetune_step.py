"""What the shared training loop adds to fine-tuning: its time over that of a bare PyTorch loop, in one run.

    uv run python tests/benchmarks/finetune_step.py [--repeats 5] [--backbone resnet18]

Both sides train the same network from the same weights on the same images, with the same optimiser, batches of the
same size and a rate that falls by a cosine; the bare loop keeps nothing and reports nothing. On a GPU both run in
bfloat16 autocast. Repeats alternate; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from tlbench.backbones.catalog import build, describe
from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context

BATCH, CLASSES, RATE = 32, 10, 1e-3


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=32)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng = np.random.default_rng(0)
    shape = (asked.examples, 3, asked.image_size, asked.image_size)
    x = rng.integers(0, 256, shape, dtype=np.uint8)
    y = rng.integers(0, CLASSES, asked.examples)
    info = describe(asked.backbone, {"image_size": asked.image_size}, {"kind": "random"})
    sides: dict[str, Callable[[], None]] = {
        "bare": lambda: _bare(Classifier(build(info, 0, None), CLASSES).to(device), x, y, asked.epochs, device),
        "tlbench": lambda: _tlbench(info, x, y, asked.epochs, device),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(asked.repeats + 1):
        for name, train in sides.items():
            start = time.perf_counter()
            train()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    steps = asked.epochs * -(-asked.examples // BATCH)
    told = {
        "backbone": info.label,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "ms_per_step": {name: round(1e3 * value / steps, 2) for name, value in medians.items()},
        "ratio": round(medians["tlbench"] / medians["bare"], 4),
        "ratios": [round(b / a, 4) for a, b in zip(times["bare"], times["tlbench"], strict=True)],
    }
    print(json.dumps(told, indent=2))


def _bare(model: Classifier, x: np.ndarray, y: np.ndarray, epochs: int, device: torch.device) -> None:
    images, labels = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-2, fused=True)
    count = -(-len(y) // BATCH)
    for epoch in range(epochs):
        model.train()
        for step, rows in enumerate(torch.randperm(len(y)).tensor_split(count), start=epoch * count):
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / (epochs * count)))
            rows = rows.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(images[rows])
            loss = cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    loss.item()


def _tlbench(info: object, x: np.ndarray, y: np.ndarray, epochs: int, device: torch.device) -> None:
    method = registry.declaration("methods", "finetune").load()
    classes = tuple(map(str, range(CLASSES)))
    data = DatasetInfo("noise", "image", "noise", classes, x.shape[1:], {"train": (), "test": ()}, {})
    task = Task(
        info=TaskInfo("classification", data, "full", CLASSES, {}),
        train=Split(x, y, np.arange(len(y))),
        val=None,
        unlabeled=None,
    )
    precision = "bfloat16" if device.type == "cuda" else "float32"
    ctx = Context(random_root="benchmark", device=device, precision=precision)
    config = method.Config(epochs=epochs, batch_size=BATCH, lr=RATE, head_multiplier=1.0, augment="none")
    method.fit(task, build(info, 0, None).to(device), config, ctx)


if __name__ == "__main__":
    main()
