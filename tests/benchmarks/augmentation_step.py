"""The share of a training step that augmentation takes, and its time over torchvision's image by image, in one run.

    uv run --extra timm python tests/benchmarks/augmentation_step.py [--repeats 9] [--backbone NAME] [--image-size 64]

A step is forward, cross-entropy, backward and AdamW on the whole network; images are taken from raw bytes in memory.
``share`` is what making the augmented batch, drawing included, is of a step with it. ``ratio`` is the time of a batch
over that of torchvision's transforms of the same kind, called for one image after another as a loader's worker would.

On the CPU it runs on one thread and counts seconds of that, which other work on the machine disturbs less than the
clock's; on a GPU it counts by the clock. Repeats alternate, and figures are those of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from tlbench.backbones.catalog import build, describe
from tlbench.data.dataset import Split
from tlbench.training.augmentation.policy import UNCHANGED, Augmentation
from tlbench.training.batches import Batches, Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.supervised_loop import label_losses
from tlbench.worker.memory_allocator import keep_freed_memory

BATCH, CLASSES = 32, 10
OURS = {
    "none": UNCHANGED,
    "shift_flip": Augmentation("shift_flip"),
    "crop_flip": Augmentation("crop_flip"),
    "randaugment": Augmentation("crop_flip", operations=2, magnitude=9.0),
    "mixup": Augmentation("crop_flip", mix="mixup", alpha=0.2),
    "cutmix": Augmentation("crop_flip", mix="cutmix"),
}


def theirs(size: int) -> dict[str, Callable[[Tensor, Tensor], Any]]:
    """Return torchvision's transforms of a batch, most of them image by image."""
    crop = v2.Compose([v2.RandomResizedCrop(size, antialias=False), v2.RandomHorizontalFlip()])
    strong = v2.Compose([crop, v2.RandAugment(2, 9)])
    mixes = {"mixup": v2.MixUp(alpha=0.2, num_classes=CLASSES), "cutmix": v2.CutMix(num_classes=CLASSES)}

    def each(transform: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Any]:
        return lambda x, y: torch.stack([transform(image) for image in x]).float()

    def mixed(mix: Callable[..., Any]) -> Callable[[Tensor, Tensor], Any]:
        return lambda x, y: mix(torch.stack([crop(image) for image in x]).float(), y)

    return {"crop_flip": each(crop), "randaugment": each(strong)} | {name: mixed(mix) for name, mix in mixes.items()}


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--backbone", default="timm:tf_efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=64)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
        torch.set_num_threads(1)
    info = describe(asked.backbone, {"image_size": asked.image_size}, {"kind": "random"})
    model = Classifier(build(info, 0, None), CLASSES).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (BATCH, 3, asked.image_size, asked.image_size), dtype=np.uint8)
    split = Split(x, rng.integers(0, CLASSES, BATCH), np.arange(BATCH))
    examples, ctx = Examples(split, device), Context(random_root="benchmark", device=device)
    (batch,) = Batches(examples, BATCH, UNCHANGED, ctx, "fit").epoch(0)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        label_losses(model(batch.x), batch, 0.0).mean().backward()
        optimizer.step()

    def ours(augmentation: Augmentation) -> Callable[[], Any]:
        batches = Batches(examples, BATCH, augmentation, ctx, "fit")
        return lambda: list(batches.epoch(0))

    raw, labels = torch.from_numpy(x), torch.from_numpy(split.labels)
    jobs: dict[str, Callable[[], Any]] = {"step": step} | {name: ours(each) for name, each in OURS.items()}
    others = theirs(asked.image_size)
    jobs |= {f"torchvision {name}": lambda other=other: other(raw, labels) for name, other in others.items()}
    medians = _alternate(jobs, asked.repeats, device)
    told = {
        "backbone": info.label,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "images": BATCH,
        "ms": {name: round(1e3 * value, 3) for name, value in medians.items()},
        "share": {name: round(medians[name] / (medians["step"] + medians[name]), 4) for name in OURS},
        "ratio": {name: round(medians[name] / medians[f"torchvision {name}"], 4) for name in others},
    }
    print(json.dumps(told, indent=1))


def _alternate(jobs: dict[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, float]:
    """Return the median seconds of each job."""
    clock = time.perf_counter if device.type == "cuda" else time.thread_time
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats + 1):
        for name, job in jobs.items():
            start = clock()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:  # the first round warms up
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
