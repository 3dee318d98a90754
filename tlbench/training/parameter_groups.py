"""Optimisers, and their parameter groups with learning rates and weight decay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from tlbench.core.config import Optimizer
from tlbench.training.lars import LARS

ParameterGroup = dict[str, Any]
"""A parameter group of ``torch.optim``: ``params``, ``lr`` and ``weight_decay``."""

_MOMENTUM = 0.9


def parameter_groups(
    parts: Iterable[tuple[Iterable[nn.Parameter], float]], weight_decay: float
) -> list[ParameterGroup]:
    """Return the parameter groups of the trainable parameters of some parts of a model.

    Parts are given as parameters (``model.head.parameters()``), never by name. Tensors of one dimension (biases, scales
    of normalisation) and those whose first dimension is one (class tokens and tables of positions of vision
    transformers) have no weight decay, so that a part makes up to two groups.

    Args:
        parts: Parameters and learning rate of each part; frozen parameters are left out.
        weight_decay: Weight decay of matrices and kernels.
    """
    groups: list[ParameterGroup] = []
    for parameters, lr in parts:
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if _is_matrix(parameter)]
        others = [parameter for parameter in trainable if not _is_matrix(parameter)]
        for params, decay in ((decayed, weight_decay), (others, 0.0)):
            groups += [{"params": params, "lr": lr, "weight_decay": decay}] if params else []
    return groups


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Return whether a parameter is a matrix or a kernel, and not a vector, a token or a table of positions."""
    return parameter.ndim > 1 and parameter.shape[0] > 1


def layerwise_rates(
    layers: Sequence[Sequence[nn.Parameter]], top: float, decay: float
) -> list[tuple[Sequence[nn.Parameter], float]]:
    """Return layer groups with learning rates that decrease geometrically from the top to the stem.

    Args:
        layers: Parameters of each layer group, from stem to top.
        top: Learning rate of the uppermost group.
        decay: Ratio of the learning rates of a group and of the group above it.
    """
    return [(group, top * decay ** (len(layers) - 1 - depth)) for depth, group in enumerate(layers)]


def check_coverage(model: nn.Module, groups: Iterable[ParameterGroup]) -> None:
    """Check that the groups contain every trainable parameter of the model exactly once, and no other tensor.

    Raises:
        ValueError: Names missing parameters, and counts duplicate and foreign ones.
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
    """Return an optimiser of parameter groups.

    Each group stores its learning rate also as ``base_lr``, which :func:`scale_rates` multiplies. SGD has momentum 0.9.
    """
    groups = [{**group, "base_lr": group["lr"]} for group in groups]
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, fused=True)
    return LARS(groups) if name == "lars" else torch.optim.AdamW(groups, fused=True)


def scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to ``factor`` times its ``base_lr``, which keeps the ratios between groups."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
