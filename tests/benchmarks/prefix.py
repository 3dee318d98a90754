"""What it saves to run frozen layer groups once: gradual unfreezing's time with kept outputs over that without.

    uv run python tests/benchmarks/prefix.py [--repeats 5] [--backbone resnet18] [--paces 1 2 3]

Both sides thaw the same network, from the same weights on the same images, one layer group a stage from the top down
until the stem's stage is over, at each pace (epochs a stage). The last stage, in which nothing is frozen, is part of
both. On a GPU both run in bfloat16 autocast, by the clock; on the CPU on one thread, and seconds of that thread are
counted, which other work on the machine disturbs less. Repeats alternate; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from tlbench.backbones.catalog import build, describe
from tlbench.core.info import BackboneInfo, DatasetInfo, TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.training import supervised_loop as loop
from tlbench.training.context import Context
from tlbench.training.frozen_prefix import cache_prefix

CLASSES = 10
SIDES = {"kept": cache_prefix, "run every time": lambda *_: None}


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--examples", type=int, default=256, help="for training; a quarter as many for validation")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--paces", type=int, nargs="+", default=[1, 2, 3])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    info = describe(asked.backbone, {"image_size": asked.image_size}, {"kind": "random"})
    task = _task(asked.examples, asked.image_size)
    told = {
        "backbone": info.label,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "paces": {pace: _compare(info, task, pace, asked.repeats, device) for pace in asked.paces},
    }
    print(json.dumps(told, indent=2))


def _compare(info: BackboneInfo, task: Task, pace: int, repeats: int, device: torch.device) -> dict[str, object]:
    times: dict[str, list[float]] = {name: [] for name in SIDES}
    for repeat in range(repeats + 1):
        for name, keep in SIDES.items():
            with patch.object(loop, "cache_prefix", keep):
                seconds = _thaw(info, task, pace, device)
            if repeat:  # the first round warms up
                times[name].append(seconds)
    kept, live = times.values()
    return {
        "seconds": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "ratio": round(statistics.median(kept) / statistics.median(live), 3),
        "ratios": [round(a / b, 3) for a, b in zip(kept, live, strict=True)],
    }


def _thaw(info: BackboneInfo, task: Task, pace: int, device: torch.device) -> float:
    """Return the seconds that one fit takes."""
    method = registry.declaration("methods", "gradual_unfreezing").load()
    backbone = build(info, 0, None).to(device)
    epochs = (len(backbone.layer_groups) + 1) * pace
    precision = "bfloat16" if device.type == "cuda" else "float32"
    ctx = Context(random_root="benchmark", device=device, precision=precision)
    config = method.Config(epochs=epochs, epochs_per_stage=pace, augment="none")
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    method.fit(task, backbone, config, ctx)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def _task(examples: int, size: int) -> Task:
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        x = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
        return Split(x, rng.integers(0, CLASSES, count), np.arange(count))

    classes = tuple(map(str, range(CLASSES)))
    data = DatasetInfo("noise", "image", "noise", classes, (3, size, size), {"train": (), "test": ()}, {})
    info = TaskInfo("classification", data, "full", CLASSES, {})
    return Task(info=info, train=split(examples), val=split(examples // 4), unlabeled=None)


if __name__ == "__main__":
    main()
