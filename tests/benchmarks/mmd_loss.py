"""Time and memory of the discrepancy's loss and gradient over those of two other forms, in one run.

    uv run python tests/benchmarks/mmd_loss.py [--rows 1024] [--width 2048] [--naive-rows 256] [--repeats 7]

``naive`` holds the differences of all pairs of rows (n, m, D), three times, under one Gaussian kernel. As that may not
fit into memory at ``--rows``, all forms are also compared at ``--naive-rows``; its memory grows with the square of the
rows. ``pytorch_adapt`` is the library's quadratic loss with five kernels, given a fixed bandwidth, which is its fastest
form; it is left out where the library is not installed (without its old pins). On the CPU it runs on one thread, counts
seconds of that, and the memory of a process of its own for each form (on Linux); on a GPU it uses the clock and the
allocator's peak. Repeats alternate; ratios are of medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor

from tlbench.training.adaptation.mmd import gaussian_kernels, squared_distances, squared_mmd

KERNELS = 5


def ours(source: Tensor, target: Tensor) -> Tensor:
    """The loss of this package."""
    kernel = gaussian_kernels(squared_distances(torch.cat([source, target])), KERNELS)
    return squared_mmd(kernel, len(source))


def naive(source: Tensor, target: Tensor) -> Tensor:
    """One kernel of fixed width from the differences of all pairs, each mean over all of them."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        shape = (len(x), len(y), x.shape[1])
        apart = x.unsqueeze(1).expand(shape) - y.unsqueeze(0).expand(shape)
        return torch.exp(-apart.pow(2).sum(2) / (2 * x.shape[1]))

    return kernel(source, source).mean() + kernel(target, target).mean() - 2 * kernel(source, target).mean()


def pytorch_adapt(source: Tensor, target: Tensor) -> Tensor:
    """The library's loss."""
    from pytorch_adapt.layers import MMDLoss

    scales = torch.tensor([1 / (2 * 2.0**u) for u in range(-3, 2)])
    return MMDLoss(scales, mmd_type="quadratic", bandwidth=2.0 * source.shape[1])(source, target)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"tlbench": ours, "naive": naive}
if importlib.util.find_spec("pytorch_adapt") is not None:
    FORMS["pytorch_adapt"] = pytorch_adapt


def samples(rows: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return two samples (rows, width)."""
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, rows, width, generator=generator)
    return source.to(device).requires_grad_(), (target + 0.3).to(device).requires_grad_()


def step(form: str, pair: tuple[Tensor, Tensor]) -> None:
    """Compute the loss and its gradient."""
    torch.autograd.grad(FORMS[form](*pair), pair)
    if pair[0].is_cuda:
        torch.cuda.synchronize()


def times(forms: list[str], pair: tuple[Tensor, Tensor], repeats: int) -> dict[str, float]:
    """Return the median seconds of each form."""
    now = time.perf_counter if pair[0].is_cuda else time.process_time
    found: dict[str, list[float]] = {form: [] for form in forms}
    for repeat in range(repeats + 1):
        for form in sorted(forms, reverse=bool(repeat % 2)):
            start = now()
            step(form, pair)
            if repeat:  # the first warms up
                found[form].append(now() - start)
    return {form: statistics.median(values) for form, values in found.items()}


def memory(form: str, rows: int, width: int, device: torch.device) -> float:
    """Return the peak of memory, in MB, above that of the samples."""
    if device.type == "cuda":
        pair = samples(rows, width, device)
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(form, pair)
        return (torch.cuda.max_memory_allocated() - held) / 1e6
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_resident, (form, rows, width))


def _resident(form: str, rows: int, width: int) -> float:
    torch.set_num_threads(1)
    step(form, samples(16, width, torch.device("cpu")))
    pair = samples(rows, width, torch.device("cpu"))
    before = _peak()
    step(form, pair)
    return _peak() - before


def _peak() -> float:
    """Return the largest resident memory of this process so far, in MB, as Linux tells it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def compare(forms: list[str], rows: int, width: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Return times and memory of some forms, and those of the others over ours."""
    seconds = times(forms, samples(rows, width, device), repeats)
    megabytes = {form: memory(form, rows, width, device) for form in forms}
    others = [form for form in forms if form != "tlbench"]
    return {
        "rows": rows,
        "width": width,
        "ms": {form: round(1e3 * value, 1) for form, value in seconds.items()},
        "megabytes": {form: round(value, 1) for form, value in megabytes.items()},
        "times_faster": {form: round(seconds[form] / seconds["tlbench"], 2) for form in others},
        "times_smaller": {form: round(megabytes[form] / max(megabytes["tlbench"], 1e-3), 2) for form in others},
    }


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--naive-rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    fitting = [form for form in FORMS if form != "naive" or asked.naive_rows >= asked.rows]
    told: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    told["full"] = compare(fitting, asked.rows, asked.width, asked.repeats, device)
    if asked.naive_rows < asked.rows:
        told["small"] = compare(list(FORMS), asked.naive_rows, asked.width, asked.repeats, device)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
