"""The time of masked language modelling over that of the same without its shortcuts, and of transformers' BERT.

    uv run python tests/benchmarks/mlm_step.py [--repeats 15] [--name text_tiny] [--vocabulary 4096] [--batch 32]

``projection``: a training step that gathers the selected positions before the vocabulary projection, over one that
projects every position and ignores the others. ``transformers``: over a step of ``BertForMaskedLM`` of the same layers,
width, heads and vocabulary, which projects every position and normalises behind its sublayers. All three on the same
ids, without padding. ``buckets``: an epoch of batches of similar length, over one of shuffled batches, each cut to its
longest text; and over batches as wide as the longest text of all. A step is forward, backward and AdamW, in training
mode, without dropout. On the CPU it runs on one thread and counts seconds of that, which other work on the machine
disturbs less than the clock's; on a GPU it runs in bfloat16 autocast, by the clock. Repeats alternate; ratios are those
of medians. Lengths spread as those of documentation: many short texts, few long ones.
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

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from transformers import BertConfig, BertForMaskedLM

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.training.length_buckets import length_buckets
from tlbench.training.selfsupervised.language_head import LanguageModel
from tlbench.training.selfsupervised.masking import IGNORE_INDEX, MaskedTexts, mask_tokens, non_special_tokens

LENGTH, MEAN = 128, 40
Step = Callable[[], Tensor]


def texts(count: int, tokens: int, shortest: int = 6) -> Tensor:
    """Return ids (count, L), padded behind."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.empty(count).exponential_(1 / MEAN, generator=generator).clamp(shortest, LENGTH).long()
    ids = torch.randint(5, tokens, (count, LENGTH), generator=generator)
    return ids * (torch.arange(LENGTH) < lengths[:, None])


def encoder(name: str, tokens: int) -> Backbone:
    """Return a fresh encoder."""
    info = describe(name, {"vocabulary": tokens, "max_length": LENGTH, "dropout": 0.0}, {"kind": "random"})
    return build(info, 0, None)


def bert(backbone: Backbone) -> nn.Module:
    """Return the model of transformers of the same size."""
    recipe = backbone.info.recipe
    config = BertConfig(
        vocab_size=recipe["vocabulary"]["size"],
        hidden_size=recipe["width"],
        num_hidden_layers=recipe["layers"],
        num_attention_heads=recipe["heads"],
        intermediate_size=4 * recipe["width"],
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    return BertForMaskedLM(config)


def gathered(model: LanguageModel, batch: MaskedTexts) -> Tensor:
    """Return the loss by this package's way."""
    rows, columns = (batch.labels != IGNORE_INDEX).nonzero(as_tuple=True)
    return cross_entropy(model(batch.inputs, rows, columns).float(), batch.labels[rows, columns])


def projected(model: LanguageModel, batch: MaskedTexts) -> Tensor:
    """Return the loss by way of all logits."""
    states = model.transform(model.backbone.body.states(batch.inputs))
    logits = linear(states, model.backbone.body.embedding.weight, model.bias)
    return cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE_INDEX)


def of_library(model: nn.Module, batch: MaskedTexts) -> Tensor:
    """Return the loss of transformers."""
    return model(input_ids=batch.inputs, attention_mask=(batch.inputs != 0).long(), labels=batch.labels).loss


def trainer(model: nn.Module, loss: Callable[[Any, MaskedTexts], Tensor], batches: list[MaskedTexts]) -> Step:
    """Return what trains on some batches, one after the other, and returns the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    device = next(model.parameters()).device

    def steps() -> Tensor:
        for batch in batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                value = loss(model, batch)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
        return value.detach().cpu()

    return steps


def alternate(sides: dict[str, Step], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each side, by turns, after two rounds to warm up."""
    now = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 2):
        for name in sorted(sides, reverse=bool(repeat % 2)):
            start = now()
            sides[name]()
            if repeat > 1:
                times[name].append(now() - start)
    return times


def compare(times: dict[str, list[float]], own: str) -> dict[str, Any]:
    """Return medians, and the ratios of one side's to the others'."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "ms": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "ratio": {name: round(medians[own] / value, 4) for name, value in medians.items() if name != own},
        "ratio_of_fastest": {n: round(min(times[own]) / min(times[n]), 4) for n in times if n != own},
    }


def steps(name: str, tokens: int, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Compare a step with that of all positions, and with the library's, on one batch."""
    models: dict[str, nn.Module] = {
        side: LanguageModel(encoder(name, tokens), torch.Generator().manual_seed(0)) for side in ("own", "projected")
    }
    models["transformers"] = bert(models["own"].backbone)  # type: ignore[arg-type]
    ids = texts(batch, tokens, shortest=LENGTH)
    masked = mask(ids, models["own"].backbone, device)  # type: ignore[arg-type]
    losses = {"own": gathered, "projected": projected, "transformers": of_library}
    first = {side: losses[side](model.to(device).train(), masked).item() for side, model in models.items()}
    sides = {side: trainer(model, losses[side], [masked]) for side, model in models.items()}
    return {
        "parameters": {side: sum(p.numel() for p in model.parameters()) for side, model in models.items()},
        "selected": int((masked.labels != IGNORE_INDEX).sum()),
        "positions": masked.labels.numel(),
        "initial_loss": first,
        **compare(alternate(sides, repeats, device), "own"),
    }


def mask(ids: Tensor, backbone: Backbone, device: torch.device) -> MaskedTexts:
    """Return masked texts, cut to the longest of them."""
    assert backbone.vocabulary is not None
    ordinary = non_special_tokens(ids, backbone.vocabulary)
    drawn = mask_tokens(backbone.prepare(ids), backbone.vocabulary, ordinary, 0.15, torch.Generator().manual_seed(0))
    return MaskedTexts(*(part.to(device) for part in drawn))


def buckets(name: str, tokens: int, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Compare epochs of batches that are made in different ways of the same texts."""
    ids = texts(16 * batch, tokens)
    lengths = (ids != 0).sum(1)
    generator = torch.Generator().manual_seed(1)
    shuffled = list(torch.randperm(len(ids), generator=generator).split(batch))
    ways = {"own": length_buckets(lengths, batch, generator), "shuffled": shuffled, "full": shuffled}
    sides, padded = {}, {}
    for side, chosen in ways.items():
        model = LanguageModel(encoder(name, tokens), torch.Generator().manual_seed(0)).to(device).train()
        drawn = [mask(ids[rows], model.backbone, device) for rows in chosen]
        if side == "full":
            drawn = [MaskedTexts(widen(one.inputs, 0), widen(one.labels, IGNORE_INDEX)) for one in drawn]
        padded[side] = round(1 - int(lengths.sum()) / sum(one.inputs.numel() for one in drawn), 3)
        sides[side] = trainer(model, gathered, drawn)
    return {"padding": padded, **compare(alternate(sides, max(3, repeats // 3), device), "own")}


def widen(x: Tensor, value: int) -> Tensor:
    """Return a batch as wide as the longest text there may be."""
    return nn.functional.pad(x, (0, LENGTH - x.shape[1]), value=value)


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--name", default="text_tiny")
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=32)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    told: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    told["steps"] = steps(asked.name, asked.vocabulary, asked.batch, asked.repeats, device)
    told["buckets"] = buckets(asked.name, asked.vocabulary, asked.batch, asked.repeats, device)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
