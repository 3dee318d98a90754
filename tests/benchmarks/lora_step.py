"""The time of a training step with low-rank updates over that of the library peft, in one run.

    uv run python tests/benchmarks/lora_step.py [--repeats 15] [--blocks 2]

Both sides update the same layers of the same blocks, shaped as those of ViT-B/16, at the same rank from the same
weights; a step is forward, backward and AdamW. On the CPU it runs on one thread and counts seconds of that, which
other work on the machine disturbs less than the clock's; on a GPU it runs in bfloat16 autocast, by the clock. Repeats
alternate; the ratio is that of the medians, ``paired`` has the quartiles of the ratios of steps that ran one after the
other. ``packed`` and ``separate`` have linear layers for query, key and value, ``module`` has
``nn.MultiheadAttention``; ``preset`` gives query, key and value a pair each, where peft gives the packed layer one.
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

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from tlbench.backbones.backbone import Backbone, BodyParts, Sublayers
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.training.parameter_efficient.low_rank import add_low_rank
from tlbench.training.parameter_efficient.low_rank_layers import LowRankDesign

WIDTH, HEADS, TOKENS = 768, 12, 197
RANK, ALPHA = 8, 16


class Attention(nn.Module):
    """Attention of linear layers."""

    def __init__(self, width: int, heads: int, packed: bool) -> None:
        super().__init__()
        self.heads, self.packed = heads, packed
        if packed:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L, width) of (B, L, width)."""
        split = (-1, self.heads, x.shape[-1] // self.heads)
        if self.packed:
            q, k, v = self.qkv(x).unflatten(-1, (3, *split[1:])).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (layer(x).unflatten(-1, split[1:]).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SelfAttention(nn.Module):
    """The attention of torch, as torchvision calls it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L, width) of (B, L, width)."""
        return self.own(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    """A transformer block."""

    def __init__(self, width: int, heads: int, kind: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads) if kind == "module" else Attention(width, heads, kind != "separate")
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L, width) of (B, L, width)."""
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(gelu(self.fc1(self.norm2(x))))


PATTERNS = {
    "packed": ("qkv", "proj"),
    "separate": ("q", "k", "v", "proj"),
    "module": ("own", "own.out_proj"),
    "preset": ("qkv", "proj"),
    "all_linear": ("qkv", "proj", "fc1", "fc2"),
}


def blocks(kind: str, count: int, width: int = WIDTH, heads: int = HEADS) -> nn.Sequential:
    """Return a few blocks."""
    torch.manual_seed(0)
    return nn.Sequential(*(Block(width, heads, kind) for _ in range(count)))


def ours(body: nn.Sequential, kind: str, x: Tensor) -> nn.Module:
    """Return the blocks with the updates of this package."""
    info = BackboneInfo("blocks", "none", "image", "blocks", {"weights": {"kind": "random"}})
    names = [str(place) for place in range(len(body))]
    pairs = [Sublayers(f"{name}.attn", f"{name}.fc2") for name in names]
    backbone = Backbone(info, nn.Identity(), body, WIDTH, BodyParts([[name] for name in names], names, pairs))
    choose = registry.declaration("methods", "lora").load().choose_layers
    sites, _ = choose(backbone, "attention" if kind == "preset" else PATTERNS[kind])
    add_low_rank(backbone, sites, LowRankDesign(RANK, ALPHA), x, torch.Generator().manual_seed(0))
    return backbone.train()


def theirs(body: nn.Sequential, kind: str) -> nn.Module:
    """Return the blocks with the updates of peft."""
    targets = [pattern for pattern in PATTERNS[kind] if pattern != "own.out_proj"]  # comes with the attention
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)
    return get_peft_model(body, config).train()  # type: ignore[arg-type]


def trainer(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return what trains for one step."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, fused=True)

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            y = model(x)
        optimizer.zero_grad(set_to_none=True)
        y.float().square().mean().backward()
        optimizer.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def measure(kind: str, count: int, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Return times, their ratio, and what both sides have at the start."""
    x = torch.randn(batch, TOKENS, WIDTH, device=device)
    body = blocks(kind, count).to(device)
    sides = {"peft": theirs(copy.deepcopy(body), kind), "tlbench": ours(copy.deepcopy(body), kind, x[:1])}
    with torch.no_grad():
        expected = body.train()(x)
        distance = {name: (model(x) - expected).abs().max().item() for name, model in sides.items()}
    steps = {name: trainer(model, x) for name, model in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    now = time.perf_counter if device.type == "cuda" else time.process_time
    for repeat in range(repeats + 2):
        for name in sorted(steps, reverse=bool(repeat % 2)):
            start = now()
            steps[name]()
            if repeat > 1:  # the first two warm up
                times[name].append(now() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    paired = [b / a for a, b in zip(times["peft"], times["tlbench"], strict=True)]
    return {
        "parameters": {n: sum(p.numel() for p in m.parameters() if p.requires_grad) for n, m in sides.items()},
        "initial_distance": distance,
        "ms_per_step": {name: round(1e3 * value, 2) for name, value in medians.items()},
        "ratio": round(medians["tlbench"] / medians["peft"], 4),
        "ratio_of_fastest": round(min(times["tlbench"]) / min(times["peft"]), 4),
        "paired": [round(float(each), 4) for each in torch.tensor(paired).quantile(torch.tensor([0.25, 0.5, 0.75]))],
    }


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--kinds", nargs="+", default=list(PATTERNS), choices=list(PATTERNS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    told: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    for kind in asked.kinds:
        told[kind] = measure(kind, asked.blocks, asked.batch, asked.repeats, device)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
