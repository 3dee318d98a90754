"""The time of scoring episodes on cached features over that of the library easyfsl's evaluation loop, in one run.

    uv run python tests/benchmarks/episodic_evaluation.py [--episodes 1000] [--repeats 5] [--widths 64 512]

Both sides are handed the same embedded examples and the same episodes, drawn before the clock starts, and classify by
prototypes; the answers must agree, and so must the accuracies. easyfsl runs twice: ``loader`` is its ``evaluate`` as it
is documented, on a ``DataLoader`` of its ``FeaturesDataset`` whose tasks are the given episodes, collated by its
``TaskSampler``; ``handed over`` is the same loop over tasks that were collated before the clock starts, which leaves
nothing but its model, task by task. Ours counts everything from the episodes to their accuracies, the collecting of
examples included. ``floor`` is what no scoring of handed-over examples can leave out: taking the rows, and the product
of every query with one row a class. On the CPU all sides run on one thread and seconds of that thread are counted,
which other work on the machine disturbs less than the clock's. Repeats alternate; ratios are those of the medians.
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
from easyfsl.datasets import FeaturesDataset
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlbench.core.record import Footprint
from tlbench.data.sampling import Episodes, EpisodeShape, draw_episodes
from tlbench.protocols.episodic import score
from tlbench.training.fewshot.prototypes import distance_logits, prototypes

CLASSES, EACH = 100, 40
WAYS, SHOTS, QUERIES = 5, 5, 15


class Means:
    """Prototypes of cached features."""

    encoder: nn.Module | None = None
    transductive = False

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        return distance_logits(query, prototypes(support, labels, ways))

    def footprint(self) -> Footprint:
        """Return nothing."""
        return Footprint(trainable=0, total=0, stored_bytes=0)


def ours(z: Tensor, episodes: Episodes) -> Callable[[], float]:
    """Return what scores the episodes and returns the mean accuracy."""

    def run() -> float:
        logits, labels = score(Means(), z, episodes, 0, z.device)
        return (logits.argmax(-1) == labels).double().mean(1).mean().item()

    return run


def theirs(z: Tensor, labels: list[int], episodes: Episodes) -> dict[str, Callable[[], float]]:
    """Return what does the same by easyfsl, with tasks that are loaded and with tasks that are handed over."""
    names = [str(label) for label in range(CLASSES)]
    dataset = FeaturesDataset(labels, z.cpu(), names)
    sampler = TaskSampler.__new__(TaskSampler)  # its constructor does not fit today's torch; nothing is sampled here
    sampler.n_way, sampler.n_shot, sampler.n_query = WAYS, SHOTS, QUERIES
    rows = np.concatenate([episodes.support, episodes.query], axis=2).reshape(len(episodes.support), -1).tolist()
    loader = DataLoader(dataset, batch_sampler=rows, collate_fn=sampler.episodic_collate_fn)
    tasks: Any = list(loader)
    device = z.device.type
    model = PrototypicalNetworks(nn.Identity()).to(device)
    return {
        "easyfsl, loader": lambda: evaluate(model, loader, device=device, use_tqdm=False),
        "easyfsl, handed over": lambda: evaluate(model, tasks, device=device, use_tqdm=False),
    }


def floor(z: Tensor, episodes: Episodes, chunk: int = 2**20) -> Callable[[], float]:
    """Return what takes the rows of all episodes, and multiplies the queries with a row a class."""
    support, query = (torch.from_numpy(part).flatten(1).to(z.device) for part in (episodes.support, episodes.query))
    step = max(1, chunk // (z.shape[1] * (support.shape[1] + query.shape[1])))

    def run() -> float:
        for s, q in zip(support.split(step), query.split(step), strict=True):
            x, y = (z.index_select(0, part.flatten()).unflatten(0, part.shape) for part in (s, q))
            last = y @ x[:, :WAYS].transpose(1, 2)
        return last[0, 0, 0].item()

    return run


def measure(width: int, count: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Return times, their ratios, and the accuracies of all sides."""
    generator = torch.Generator().manual_seed(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    centres = torch.randn(CLASSES, width, generator=generator)
    z = centres[labels] + 2.5 * torch.randn(len(labels), width, generator=generator) * (width / 64) ** 0.25
    episodes = draw_episodes(
        labels,
        np.arange(len(labels)),
        range(CLASSES),
        EpisodeShape(ways=WAYS, shots=SHOTS, queries=QUERIES),
        count=count,
        seed=0,
    )
    sides = {"tlbench": ours(z.to(device), episodes), **theirs(z.to(device), labels.tolist(), episodes)}
    accuracy = {name: side() for name, side in sides.items()}  # this warms up, too
    assert max(accuracy.values()) - min(accuracy.values()) < 1e-9, accuracy
    sides["floor"] = floor(z.to(device), episodes)
    times: dict[str, list[float]] = {name: [] for name in sides}
    now = time.perf_counter if device.type == "cuda" else time.process_time
    for repeat in range(repeats):
        for name in sorted(sides, reverse=bool(repeat % 2)):
            start = now()
            sides[name]()
            times[name].append(now() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "accuracy": {name: round(value, 6) for name, value in accuracy.items()},
        "ms_per_episode": {name: round(1e3 * value / count, 4) for name, value in medians.items()},
        "times_as_fast_as": {
            name: round(value / medians["tlbench"], 1) for name, value in medians.items() if name != "tlbench"
        },
    }


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    told: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "episodes": f"{asked.episodes} of {WAYS} ways, {SHOTS} shots, {QUERIES} queries",
    }
    for width in asked.widths:
        told[f"{width} features"] = measure(width, asked.episodes, asked.repeats, device)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
