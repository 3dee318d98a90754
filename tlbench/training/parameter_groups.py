"""Which parameters are trained at which rate and decay, and by what optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from tlbench.core.config import Optimizer
from tlbench.training.selfsupervised.lars import LARS

ParameterGroup = dict[str, Any]
_MOMENTUM = 0.9


def parameter_groups(
    parts: Iterable[tuple[Iterable[nn.Parameter], float]], weight_decay: float
) -> list[ParameterGroup]:
    """Return optimiser groups of the trainable parameters of some parts of a model, each part at its own rate.

    Parts are told apart by module identity (``model.head.parameters()``), never by name. Tensors of one dimension
    (biases, scales of normalisation) are not decayed; so a part makes up to two groups.

    Args:
        parts: Parameters and their rate; frozen parameters are left out.
        weight_decay: Decay of tensors with two dimensions or more.
    """
    groups: list[ParameterGroup] = []
    for parameters, lr in parts:
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.ndim > 1]
        others = [parameter for parameter in trainable if parameter.ndim <= 1]
        for chosen, decay in ((decayed, weight_decay), (others, 0.0)):
            groups += [{"params": chosen, "lr": lr, "weight_decay": decay}] if chosen else []
    return groups


def layerwise_rates(
    layers: Sequence[Sequence[nn.Parameter]], top: float, decay: float
) -> list[tuple[Sequence[nn.Parameter], float]]:
    """Return layer groups, from stem to top, with rates that fall towards the stem by a factor each.

    Args:
        layers: Parameters of each layer group, from stem to top.
        top: Rate of the uppermost.
        decay: Rate of a group over that of the one above.
    """
    return [(group, top * decay ** (len(layers) - 1 - depth)) for depth, group in enumerate(layers)]


def check_coverage(model: nn.Module, groups: Iterable[ParameterGroup]) -> None:
    """Make sure that every trainable parameter of the model lies in exactly one group, and nothing else does.

    Raises:
        ValueError: Names what is missing, and counts what is there twice or does not belong.
    """
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(parameter): name for name, parameter in model.named_parameters() if parameter.requires_grad}
    missing = [name for key, name in trainable.items() if key not in set(grouped)]
    foreign = len(set(grouped) - set(trainable))
    twice = len(grouped) - len(set(grouped))
    if missing or foreign or twice:
        raise ValueError(
            f"parameter groups must cover the trainable parameters once: in no group: {missing[:5]}; "
            f"{twice} in two; {foreign} that are not trainable parameters of the model"
        )


def make_optimizer(name: Optimizer | Literal["lars"], groups: list[ParameterGroup]) -> torch.optim.Optimizer:
    """Return the optimiser of groups that carry their own ``lr`` and ``weight_decay``.

    Each group remembers its rate as ``base_lr``, so that :func:`scale_rates` can scale all of them.
    """
    groups = [{**group, "base_lr": group["lr"]} for group in groups]
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, fused=True)
    return LARS(groups) if name == "lars" else torch.optim.AdamW(groups, fused=True)


def scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to ``factor`` times its base, which keeps the ratios between groups."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
