"""Which parameters are trained at which rate and decay, and by what optimiser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from tlbench.training.classifier import Classifier

Group = dict[str, Any]
OptimizerName = Literal["adamw", "sgd"]
_MOMENTUM = 0.9


def parameter_groups(model: Classifier, lr: float, head_multiplier: float, weight_decay: float) -> list[Group]:
    """Return groups that cover every trainable parameter once: body and head, each with and without decay.

    The head is told from the body by module identity, never by name; tensors of one dimension (biases, scales of
    normalisation) are not decayed.

    Args:
        model: The classifier.
        lr: Rate of the body.
        head_multiplier: Rate of the head as a multiple of the body's.
        weight_decay: Decay of tensors with two dimensions or more.
    """
    head = {id(parameter) for parameter in model.head.parameters()}
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            parts.setdefault((id(parameter) in head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * head_multiplier if in_head else lr,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (in_head, decayed), parameters in parts.items()
    ]


def check_cover(model: nn.Module, groups: Iterable[Group]) -> None:
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


def make_optimizer(name: OptimizerName, groups: list[Group]) -> torch.optim.Optimizer:
    """Return the optimiser of groups that carry their own ``lr`` and ``weight_decay``.

    Each group remembers its rate as ``base_lr``, so that :func:`set_rate` can scale all of them.
    """
    groups = [{**group, "base_lr": group["lr"]} for group in groups]
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, fused=True)
    return torch.optim.AdamW(groups, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to ``factor`` times its base, which keeps the ratios between groups."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
