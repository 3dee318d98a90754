"""The time of a SimCLR step, and of making its views, over those of the library lightly, in one run.

    uv run python tests/benchmarks/simclr_step.py [--repeats 9] [--backbone conv4-32 resnet18] [--optimizer adamw lars]

The step: both sides are given the same two views of the same images and train the same backbone from the same weights
under a projection head of the same widths; it is forward, NT-Xent, backward and optimiser (lightly's LARS, or torch's
fused AdamW on both sides). lightly's side stands as its tutorials have it, ``lightly``, which ``ratio`` is to; and in
the memory format that ours uses, ``lightly_channels_last``, where ``ratio_in_one_format`` compares what else differs:
one forward of both views instead of two, the loss, the optimiser.

The views: two of every image of a batch, from raw bytes in memory to network input: ours for the whole batch, drawing
included; lightly's transform image by image in this process, as one of its loader's workers would. ``share`` is the
part of our epoch that making views takes.

On the CPU it runs on one thread and counts seconds of that, which other work on the machine disturbs less than the
clock's, and the process keeps its memory as a slot does: without that, what is measured are the faults of touching
fresh pages. On a GPU it runs in bfloat16 autocast, by the clock. Repeats alternate; ratios are those of the medians,
``paired`` has the quartiles of the ratios of steps that ran one after the other.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from lightly.utils.lars import LARS
from PIL import Image
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.core.config import Views
from tlbench.data.dataset import Split
from tlbench.plugins import registry
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.selfsupervised.projection_head import projection_head
from tlbench.training.selfsupervised.views import VIEW_POLICIES, ViewBatch, ViewBatches
from tlbench.worker.memory_allocator import keep_freed_memory

BACKBONES: dict[str, tuple[str, dict[str, Any], Views]] = {
    "conv4-32": ("conv4", {"width": 32}, "characters"),
    "conv4-64": ("conv4", {"width": 64}, "characters"),
    "resnet18": ("resnet18", {"image_size": 32, "stem": "small"}, "small_objects"),
    "resnet50": ("resnet50", {"image_size": 224}, "objects"),
}
OUT, TEMPERATURE, RATE, DECAY = 128, 0.5, 1e-3, 1e-4


def ours(backbone: Backbone, views: Tensor, optimizer: str, ctx: Context) -> Callable[[], None]:
    """Return what takes a step of this package."""
    method = registry.declaration("methods", "simclr").load()
    cfg = method.Config(optimizer=optimizer, lr=RATE, lars_lr=RATE, weight_decay=DECAY, temperature=TEMPERATURE)
    head = projection_head(backbone.out_dim, OUT, 2, torch.Generator().manual_seed(0))
    model = nn.Sequential(backbone, head).to(ctx.device).train()
    stepper = method.simclr_optimizer(model, cfg, method._REFERENCE)
    batch = ViewBatch(views, len(views) // 2)

    def step() -> None:
        method.train_step(model, batch, stepper, cfg, ctx)

    return step


def theirs(
    backbone: Backbone, views: Tensor, optimizer: str, ctx: Context, layout: torch.memory_format
) -> Callable[[], None]:
    """Return what takes a step as lightly's tutorials write it."""
    model = nn.Sequential(backbone, SimCLRProjectionHead(backbone.out_dim, backbone.out_dim, OUT))
    model.to(ctx.device, memory_format=layout).train()
    criterion = NTXentLoss(TEMPERATURE)
    stepper = (
        LARS(model.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
        if optimizer == "lars"
        else torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    )
    first, second = views.chunk(2)

    def step() -> None:
        with ctx.autocast():
            loss = criterion(model(first), model(second))
        loss.backward()
        stepper.step()
        stepper.zero_grad()

    return step


def measure_steps(name: str, optimizer: str, batch: int, repeats: int, ctx: Context) -> dict[str, Any]:
    """Return times of a step of all sides, and their ratio."""
    backbone = build(describe(*BACKBONES[name][:2], {"kind": "random"}), 0, None)
    spec = backbone.info.recipe
    shape = (2 * batch, spec["channels"], spec["image_size"], spec["image_size"])
    views = (255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))).to(ctx.device)
    sides = {
        "lightly": theirs(copy.deepcopy(backbone), views, optimizer, ctx, torch.contiguous_format),
        "lightly_channels_last": theirs(copy.deepcopy(backbone), views, optimizer, ctx, torch.channels_last),
        "tlbench": ours(copy.deepcopy(backbone), views, optimizer, ctx),
    }
    times = _alternate(sides, repeats, ctx)
    medians = {side: statistics.median(values) for side, values in times.items()}
    paired = [b / a for a, b in zip(times["lightly"], times["tlbench"], strict=True)]
    return {
        "images": batch,
        "ms_per_step": {side: round(1e3 * value, 2) for side, value in medians.items()},
        "ratio": round(medians["tlbench"] / medians["lightly"], 4),
        "ratio_in_one_format": round(medians["tlbench"] / medians["lightly_channels_last"], 4),
        "paired": [round(float(each), 4) for each in torch.tensor(paired).quantile(torch.tensor([0.25, 0.5, 0.75]))],
    }


def measure_views(name: str, batch: int, repeats: int, ctx: Context) -> dict[str, Any]:
    """Return times of making two views of a batch, ours and image by image."""
    architecture, options, policy = BACKBONES[name]
    size = describe(architecture, options, {"kind": "random"}).recipe["image_size"]
    channels = 1 if policy == "characters" else 3
    x = np.random.default_rng(0).integers(0, 256, (batch, channels, size, size), dtype=np.uint8)
    images = Examples(Split(x, np.zeros(batch, np.int64), np.arange(batch)), ctx.device)
    batches = ViewBatches(images, batch, policy, 1.0, ctx, "benchmark")
    p = VIEW_POLICIES[policy]
    transform = SimCLRTransform(
        input_size=size,
        cj_strength=p.strength,
        min_scale=p.least,
        random_gray_scale=p.grey,
        gaussian_blur=p.blurred,
        hf_prob=0.5 * p.flips,
        rr_prob=1.0 if p.bend else 0.0,
        rr_degrees=15 if p.bend else None,
        normalize={"mean": [0.5] * channels, "std": [0.5] * channels},
    )
    pictures = [Image.fromarray(each[0] if channels == 1 else each.transpose(1, 2, 0)) for each in x]

    def one_by_one() -> None:
        pairs = [transform(picture) for picture in pictures]
        for place in range(2):
            torch.stack([pair[place] for pair in pairs]).to(ctx.device)

    times = _alternate({"lightly": one_by_one, "tlbench": lambda: next(batches.epoch(0))}, repeats, ctx)
    medians = {side: statistics.median(values) for side, values in times.items()}
    return {
        "ms_per_batch": {side: round(1e3 * value, 2) for side, value in medians.items()},
        "ratio": round(medians["tlbench"] / medians["lightly"], 4),
    }


def _alternate(sides: dict[str, Callable[[], Any]], repeats: int, ctx: Context) -> dict[str, list[float]]:
    cuda = ctx.device.type == "cuda"
    now = time.perf_counter if cuda else time.process_time
    times: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 2):
        for side in sorted(sides, reverse=bool(repeat % 2)):
            start = now()
            sides[side]()
            if cuda:
                torch.cuda.synchronize()
            if repeat > 1:  # the first two warm up
                times[side].append(now() - start)
    return times


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--backbone", nargs="+", default=["conv4-32"], choices=list(BACKBONES))
    parser.add_argument("--optimizer", nargs="+", default=["adamw", "lars"], choices=["adamw", "lars"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ctx = Context(random_root="benchmark", device=device, precision="bfloat16" if device.type == "cuda" else "float32")
    told: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    for name in asked.backbone:
        steps = {each: measure_steps(name, each, asked.batch, asked.repeats, ctx) for each in asked.optimizer}
        views = measure_views(name, asked.batch, asked.repeats, ctx)
        making, step = views["ms_per_batch"]["tlbench"], steps[asked.optimizer[0]]["ms_per_step"]["tlbench"]
        told[name] = {**steps, "views": {**views, "share": round(making / (making + step), 4)}}
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
