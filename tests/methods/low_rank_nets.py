"""Backbones with low-rank updates, in double precision: made, stirred, and compared but for rounding."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from small_nets import BODIES, images
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone, BodyParts, Sublayers
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.training.parameter_efficient.low_rank import AddedUpdates, add_low_rank
from tlbench.training.parameter_efficient.low_rank_layers import LowRank, LowRankDesign

PRESETS = ("qv", "attention", "all_linear", "all")
CASES = [(name, targets) for name in BODIES for targets in PRESETS]
RANK = 3


def method() -> ModuleType:
    """Return the module of the method."""
    return registry.declaration("methods", "lora").load()


def seeded(seed: int = 2) -> torch.Generator:
    """Return a generator with this seed."""
    return torch.Generator().manual_seed(seed)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the tensors of a module's state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def stir(parameters: list[nn.Parameter]) -> None:
    """Give every parameter a value other than its own."""
    generator = seeded(3)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))


def adapt(backbone: Backbone, targets: Any, x: Tensor | None = None, **design: Any) -> AddedUpdates:
    """Add updates to the targets of the method, with the example ``x`` or images."""
    sites, _ = method().choose_layers(backbone, targets)
    settings = LowRankDesign(**{"rank": RANK, "alpha": 6.0, **design})
    return add_low_rank(backbone, sites, settings, images() if x is None else x, seeded())


def updated_layers(backbone: Backbone) -> dict[str, Any]:
    """Return the layers that have updates, by name."""
    return {name: layer for name, layer in backbone.body.named_modules() if isinstance(layer, LowRank)}


def own_weight(layer: Any) -> Tensor:
    """Return the weight as it was given."""
    return dict(layer.named_parameters(recurse=False))[layer.weight_name]


def wrap(body: nn.Module, sublayers: tuple[Sublayers, ...] = ()) -> Backbone:
    """Return a body made by hand as a backbone in double precision."""
    info = BackboneInfo("hand", "none", "image", "hand", {"weights": {"kind": "random"}})
    groups = [[name] for name, _ in body.named_children()]
    return Backbone(info, nn.Identity(), body, 4, BodyParts(groups, [], sublayers)).double()


def normal(*shape: int) -> Tensor:
    """Return normal numbers in double precision."""
    return torch.randn(*shape, generator=seeded(4), dtype=torch.float64)


def close(actual: Any, expected: Any, **more: Any) -> None:
    """Assert that both are the same but for rounding."""
    torch.testing.assert_close(actual, expected, **{"rtol": 1e-10, "atol": 1e-12, **more})
