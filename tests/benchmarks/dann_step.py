"""The time of a training step of DANN over that of a bare loop that does the same arithmetic, in one run.

    uv run python tests/benchmarks/dann_step.py [--repeats 9] [--steps 20] [--width 32]

Both train Conv4 with bottleneck, head and discriminator from the same weights on the same batches, by the same
optimiser and rates. The bare loop holds its images as a tensor, knows nothing of splits, processes, precision,
checkpoints or proposals, and writes the losses with torch's own functions. On the CPU it runs on one thread and counts
seconds of that, which other work on the machine disturbs less than the clock's; on a GPU it uses the clock. Repeats
alternate; the ratio is that of the medians, ``paired`` has the quartiles of the ratios of repeats that ran one after
the other, ``distance`` tells how far the trained weights lie apart.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.training.context import Context

CLASSES, SIZE, EXAMPLES = 10, 28, 1000


def domains() -> tuple[Tensor, Tensor, Tensor]:
    """Return images of two domains (n, 1, SIZE, SIZE), and the labels (n,) of the first."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2, EXAMPLES, 1, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return x[0], x[1], torch.randint(0, CLASSES, (EXAMPLES,), generator=generator)


def backbone(width: int) -> Backbone:
    """Return the network below the bottleneck."""
    return build(describe("conv4", {"width": width, "image_size": SIZE, "channels": 1}, {"kind": "random"}), 0, None)


def ours(parts: tuple[Tensor, Tensor, Tensor], cfg: Any, ctx: Context, width: int) -> list[Tensor]:
    """Train by the method; return the weights."""
    source, target, labels = parts
    rows = np.arange(EXAMPLES)
    info = DatasetInfo("noise", "image", "noise", tuple(map(str, range(CLASSES))), (1, SIZE, SIZE), {})
    task = Task(
        TaskInfo("adaptation", info, 0, CLASSES, {}),
        train=Split(target[:0].numpy(), labels[:0].numpy(), rows[:0]),
        val=None,
        unlabeled=Split(target.numpy(), None, rows),
        source=Split(source.numpy(), labels.numpy(), rows),
    )
    predictor = registry.declaration("methods", "dann").load().fit(task, backbone(width), cfg, ctx)
    return [p.detach() for p in predictor.module.parameters()]


class Reverse(torch.autograd.Function):
    """The identity, backwards times -strength."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return z.view_as(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def bare(parts: tuple[Tensor, Tensor, Tensor], cfg: Any, ctx: Context, width: int) -> list[Tensor]:
    """Train by a loop; return the weights."""
    source, target, labels = (part.to(ctx.device) for part in parts)
    encoder = backbone(width)
    bottleneck = nn.Sequential(nn.Linear(encoder.out_dim, cfg.bottleneck), nn.BatchNorm1d(cfg.bottleneck), nn.ReLU())
    head = nn.Linear(cfg.bottleneck, CLASSES)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    layers = registry.declaration("methods", "dann").load().Discriminator
    reader = layers(cfg.bottleneck, cfg.width, ctx.generator("discriminator"))
    net = nn.ModuleList([encoder, bottleneck, head, reader]).to(ctx.device).train()
    trained = list(net.parameters())
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": cfg.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=cfg.lr, momentum=0.9, fused=True)
    batch, orders = cfg.batch_size, {}
    for step in range(cfg.steps):
        progress = step / cfg.steps
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * (1 + 10 * progress) ** -0.75
        number, place = divmod(step, EXAMPLES // batch)
        if place == 0:
            orders = {
                part: torch.randperm(EXAMPLES, generator=ctx.generator("fit", part, "order", number)).to(ctx.device)
                for part in ("source", "target")
            }
        here, there = (orders[part][place * batch : (place + 1) * batch] for part in ("source", "target"))
        z = bottleneck(encoder(torch.cat([source[here], target[there]])))
        strength = cfg.strength * (2 / (1 + math.exp(-10 * progress)) - 1)
        told = reader(Reverse.apply(z, strength))
        domain = binary_cross_entropy_with_logits(told[:batch], torch.ones_like(told[:batch]))
        domain = domain + binary_cross_entropy_with_logits(told[batch:], torch.zeros_like(told[batch:]))
        loss = cross_entropy(head(z)[:batch], labels[here]) + cfg.weight * 0.5 * domain
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return [p.detach() for p in net[:3].parameters()]


def measure(steps: int, width: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Return times, their ratio, and how far the results lie apart."""
    parts = domains()
    cfg = registry.declaration("methods", "dann").load().Config(steps=steps, checks=1)
    ctx = Context(random_root="dann-step", device=device)
    sides = {"bare": bare, "tlbench": ours}
    times: dict[str, list[float]] = {name: [] for name in sides}
    weights: dict[str, list[Tensor]] = {}
    now = time.perf_counter if device.type == "cuda" else time.process_time
    for repeat in range(repeats + 1):
        for name in sorted(sides, reverse=bool(repeat % 2)):
            torch.manual_seed(0)
            start = now()
            weights[name] = sides[name](parts, cfg, ctx, width)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat:  # the first warms up
                times[name].append((now() - start) / steps)
    medians = {name: statistics.median(values) for name, values in times.items()}
    paired = [b / a for a, b in zip(times["bare"], times["tlbench"], strict=True)]
    return {
        "distance": max((p - q).abs().max().item() for p, q in zip(weights["bare"], weights["tlbench"], strict=True)),
        "ms_per_step": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "ratio": round(medians["tlbench"] / medians["bare"], 4),
        "ratio_of_fastest": round(min(times["tlbench"]) / min(times["bare"]), 4),
        "paired": [round(float(each), 4) for each in torch.tensor(paired).quantile(torch.tensor([0.25, 0.5, 0.75]))],
    }


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    told: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    print(json.dumps(told | measure(asked.steps, asked.width, asked.repeats, device), indent=2))


if __name__ == "__main__":
    main()
