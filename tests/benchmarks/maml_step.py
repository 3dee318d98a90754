"""Time and memory of a second-order MAML step over those of the library higher, in one run.

    uv run python tests/benchmarks/maml_step.py [--repeats 15] [--steps 1 5]

A step is 4 episodes of 5 ways, 1 shot and 15 queries on Conv4 of width 32 for 28 x 28 images: adapt to the support,
differentiate the queries' loss through that, and let Adam move the start. Both sides have the same weights and
inputs, add up gradients episode by episode, as higher's examples do, and must agree. On the CPU the step runs on one
thread and counts seconds of that, which other work on the machine disturbs less than the clock's; on a GPU, by the
clock. Repeats alternate; the ratio is that of the medians, ``paired`` has the quartiles of the ratios of steps that
ran one after the other. Memory is taken in a fresh process a side:
``tensors`` is the most that tensors of a step take at once, as PyTorch counts them; ``process`` the peak of the
process's resident set, or of what it reserves on a GPU.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import higher
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from tlbench.backbones.catalog import build, describe
from tlbench.methods.maml import Config, GradientDescentLearner, MetaInitialisation
from tlbench.training.fewshot.inner_loop import multi_step_loss_weights

WAYS, SHOTS, QUERIES, EPISODES, RATE = 5, 1, 15, 4, 0.1
Parts = tuple[Tensor, Tensor, Tensor, Tensor]
Step = Callable[[], float]


def start(steps: int, device: torch.device) -> MetaInitialisation:
    """Return the start of all episodes, always the same."""
    info = describe("conv4", {"width": 32}, {"kind": "random"})
    cfg = Config(inner_lr=RATE, inner_steps=steps)
    return MetaInitialisation(build(info, 0, None), WAYS, cfg, torch.Generator().manual_seed(0)).to(device).train()


def episodes(device: torch.device) -> Parts:
    """Return raw images and labels of support and queries."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (EPISODES, WAYS * (SHOTS + QUERIES), 1, 28, 28), generator=generator)
    support, query = images.to(torch.uint8).to(device).split([WAYS * SHOTS, WAYS * QUERIES], dim=1)
    labels, truth = (torch.arange(WAYS, device=device).repeat(EPISODES, each) for each in (SHOTS, QUERIES))
    return support, labels, query, truth


def ours(begin: MetaInitialisation, steps: int, parts: Parts) -> Step:
    """Return the step of this package."""
    solver = GradientDescentLearner(begin, Config(inner_lr=RATE, inner_steps=steps))
    if parts[0].is_cuda:
        solver.vectorise(parts[0][0])
    weights = multi_step_loss_weights(steps, 1.0)

    def gradients() -> float:
        seen = 0.0
        for piece in solver.chunks(*parts):
            loss = solver.losses(*piece, WAYS, weights).sum() / EPISODES
            loss.backward()
            seen += loss.item()
        return seen

    return _stepping(begin.network, gradients)


def theirs(begin: MetaInitialisation, steps: int, parts: Parts) -> Step:
    """Return the step of higher."""
    net, prepare = begin.network, begin.network.backbone.prepare
    inner = torch.optim.SGD(net.parameters(), lr=RATE)

    def gradients() -> float:
        seen = 0.0
        for x, y, q, t in zip(*parts, strict=True):
            support, query = prepare(x), prepare(q)
            with higher.innerloop_ctx(net, inner, copy_initial_weights=False) as (adapted, descent):
                for _ in range(steps):
                    descent.step(cross_entropy(adapted(support), y))
                loss = cross_entropy(adapted(query), t) / EPISODES
                loss.backward()
            seen += loss.item()
        return seen

    return _stepping(net, gradients)


def _stepping(net: nn.Module, gradients: Callable[[], float]) -> Step:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = gradients()
        optimizer.step()
        return loss

    return step


SIDES: dict[str, Callable[[MetaInitialisation, int, Parts], Step]] = {"higher": theirs, "tlbench": ours}


def times(steps: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Return seconds of both sides, their ratio, and how far their first gradients lie apart."""
    parts, begin = episodes(device), start(steps, device)
    starts = {name: copy.deepcopy(begin) for name in SIDES}
    run = {name: side(starts[name], steps, parts) for name, side in SIDES.items()}
    for step in run.values():
        step()
    gradients = {name: torch.cat([p.grad.flatten() for p in starts[name].network.parameters()]) for name in SIDES}
    now = time.perf_counter if device.type == "cuda" else time.process_time
    spent: dict[str, list[float]] = {name: [] for name in SIDES}
    for repeat in range(repeats + 2):
        for name in sorted(SIDES, reverse=bool(repeat % 2)):
            began = now()
            run[name]()
            if repeat > 1:  # the first two warm up
                spent[name].append(now() - began)
    medians = {name: statistics.median(values) for name, values in spent.items()}
    paired = torch.tensor([b / a for a, b in zip(spent["higher"], spent["tlbench"], strict=True)])
    apart = (gradients["tlbench"] - gradients["higher"]).norm() / gradients["higher"].norm()
    return {
        "ms_per_step": {name: round(1e3 * value, 1) for name, value in medians.items()},
        "ratio": round(medians["tlbench"] / medians["higher"], 3),
        "ratio_of_fastest": round(min(spent["tlbench"]) / min(spent["higher"]), 3),
        "paired": [round(float(each), 3) for each in paired.quantile(torch.tensor([0.25, 0.5, 0.75]))],
        "gradients_apart": apart.item(),
    }


def memory(name: str, steps: int, device: torch.device) -> dict[str, int]:
    """Return the most bytes that tensors take at once beyond those there before, and the peak of the process."""
    step = SIDES[name](start(steps, device), steps, episodes(device))
    for _ in range(2):  # warm up: what is kept from step to step counts as there before
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        step()
        return {"tensors": torch.cuda.max_memory_allocated() - held, "process": torch.cuda.max_memory_reserved()}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    return {"tensors": _peak(profiler), "process": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def _peak(profiler: profile) -> int:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profiler.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    moves = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    return max(itertools.accumulate(move["args"]["Bytes"] for move in moves))


def memories(steps: int) -> dict[str, Any]:
    """Return the memory of both sides in megabytes, each in a fresh process, and the ratios."""
    found = {}
    for name in SIDES:
        command = [sys.executable, __file__, "--memory-of", name, "--steps", str(steps)]
        found[name] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    told: dict[str, Any] = {name: {key: round(v / 2**20, 1) for key, v in each.items()} for name, each in found.items()}
    ratios = {f"ratio_{key}": round(found["tlbench"][key] / found["higher"][key], 3) for key in ("tensors", "process")}
    return told | ratios


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--memory-of", choices=list(SIDES), help="measure one side's memory in this very process")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if asked.memory_of:
        print(json.dumps(memory(asked.memory_of, asked.steps[0], device)))
        return
    told: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    for steps in asked.steps:
        told[f"{steps} steps"] = {"time": times(steps, asked.repeats, device), "memory_mb": memories(steps)}
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
