"""The time of fine-tuning and of evaluating a text encoder beside texts of any length, and by length, in one run.

    uv run python tests/benchmarks/text_lengths_step.py [--repeats 5] [--name text_tiny] [--batch 32] [--examples 256]

On the docstrings of this Python, by a tokeniser trained on them. ``train``: an epoch of the shared training loop, whose
batches go through the network in pieces of similar length, over one whose batches go through whole, each cut to its
longest text. ``evaluate``: scoring from short to long, over scoring in the given order. The weights after an epoch must
agree but for rounding, so there is no dropout. On the CPU it runs on one thread and counts seconds of that, which other
work on the machine disturbs less than the clock's; on a GPU batches stay whole, and the clock counts. Repeats take
turns; ratios are those of the medians. ``padding`` is the share of the tokens computed that are padding.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from tlbench.backbones.backbone import round_length
from tlbench.backbones.catalog import build, describe
from tlbench.core.config import TrainingConfig
from tlbench.data.catalog import open_dataset
from tlbench.data.dataset import TRAIN, Split
from tlbench.data.tokenizer import PAD, Design, encode, train
from tlbench.store.artifacts import Artifacts
from tlbench.training import batches
from tlbench.training.augmentation.policy import UNCHANGED
from tlbench.training.batches import Batches, Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.evaluation import evaluate
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import train_classifier

LENGTH, SCORED = 128, 1024


def docstrings(count: int) -> tuple[Split, int]:
    """Return some docstrings as ids (count, LENGTH), and the number of classes."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset("pydocs", {}, Artifacts(Path(folder)))
        rows = np.random.default_rng(0).permutation(dataset.rows(TRAIN))[:count]
        texts = [dataset.x[int(row)] for row in rows]
        tokenizer = train(texts, Design("bpe", size=4096, lowercase=True))
        ids = encode(tokenizer, texts, LENGTH, PAD)
        return Split(ids, dataset.y[rows], rows), len(dataset.info.classes)


@contextmanager
def in_any_order() -> Iterator[None]:
    """Leave batches whole and examples in their order."""
    kept = batches.text_lengths
    batches.text_lengths = lambda x: None
    try:
        yield
    finally:
        batches.text_lengths = kept


def padding(lengths: Tensor, pieces: list[Tensor]) -> float:
    """Return the share of padding where each piece is as long as its longest text."""
    computed = sum(len(rows) * min(LENGTH, round_length(int(lengths[rows].max()))) for rows in pieces)
    return round(1 - int(lengths[torch.cat(pieces)].sum()) / computed, 3)


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="text_tiny")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--examples", type=int, default=256)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scored, classes = docstrings(SCORED)
    split = Split(*(part[: asked.examples] for part in (scored.x, scored.labels, scored.rows)))
    info = describe(asked.name, {"max_length": LENGTH, "dropout": 0.0}, {"kind": "random"})
    recipe = TrainingConfig(epochs=1, batch_size=asked.batch)
    ctx = Context(random_root="benchmark", device=device)
    fitted: list[Tensor] = []

    def fit() -> None:
        model = Classifier(build(info, 0, None), classes)
        groups = parameter_groups([(model.parameters(), 1e-3)], 1e-2)
        train_classifier(model, groups, split, None, recipe, ctx)
        fitted.append(model.head.weight.detach().cpu())

    model = Classifier(build(info, 0, None), classes).to(device)
    work: dict[str, Callable[[], object]] = {
        "train": fit,
        "evaluate": lambda: evaluate(model, Examples(scored, device), ctx),
    }
    times: dict[str, list[float]] = {f"{name}, {way}": [] for name in work for way in ("any", "by length")}
    now = time.perf_counter if device.type == "cuda" else time.process_time
    for repeat in range(asked.repeats + 1):
        for name, run in work.items():
            for way in sorted(("any", "by length"), reverse=bool(repeat % 2)):
                start = now()
                if way == "any":
                    with in_any_order():
                        run()
                else:
                    run()
                if repeat:  # the first round warms up
                    times[f"{name}, {way}"].append(now() - start)
    torch.testing.assert_close(fitted[0], fitted[1], rtol=1e-2, atol=1e-4)
    medians = {name: statistics.median(values) for name, values in times.items()}
    lengths = torch.from_numpy((scored.x != PAD).sum(1))
    whole = Batches(Examples(split, device), asked.batch, UNCHANGED, ctx, "fit")
    drawn = list(whole.epoch(0))
    told = {
        "backbone": info.label,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ratio": {name: round(medians[f"{name}, by length"] / medians[f"{name}, any"], 3) for name in work},
        "padding": {
            "train, any": padding(lengths, [batch.rows for batch in drawn]),
            "train, by length": padding(
                lengths, [piece.rows for batch in drawn for piece in whole.micro_batches(batch)]
            ),
            "evaluate, any": padding(lengths, list(torch.arange(len(lengths)).split(256))),
            "evaluate, by length": padding(lengths, list(lengths.argsort().split(256))),
        },
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
