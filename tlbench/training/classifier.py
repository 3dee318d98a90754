"""A backbone with a classification head, and the training mode of networks with frozen parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm


class Classifier(nn.Module):
    """A backbone with a linear head that is initialised to zero, so that training starts from uniform predictions.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        classes: Number of classes.

    Attributes:
        head: Maps features to logits; linear, unless it is replaced.
    """

    head: nn.Module

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = zero_head(backbone.out_dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs (B, ...)."""
        logits: Tensor = self.head(self.backbone(x))
        return logits


def zero_head(width: int, outputs: int) -> nn.Linear:
    """Return a linear head of zeros, so that training starts from uniform predictions.

    Args:
        width: Width of the features.
        outputs: Number of outputs.
    """
    head = nn.Linear(width, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def random_head(width: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear head with PyTorch's uniform initialisation of weights, and biases of zero.

    Args:
        width: Width of the features.
        outputs: Number of outputs.
        generator: Generator of the weights.
    """
    head = nn.Linear(width, outputs)
    nn.init.uniform_(head.weight, -(width**-0.5), width**-0.5, generator=generator)
    nn.init.zeros_(head.bias)
    return head


def train_mode(model: nn.Module, batch_norm: BatchNorm) -> None:
    """Put a model into training mode, except for batch normalisation layers whose running statistics must not change.

    These stay in evaluation mode: all of them under the policy ``frozen``, and always those whose scale and shift are
    frozen, since ``requires_grad=False`` does not stop the update of running statistics, and any call of ``train()``
    would start it again. Training loops must use this function in place of ``train()``.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and (batch_norm == "frozen" or _is_frozen(module)):
            module.eval()


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters())
    return bool(own) and not any(parameter.requires_grad for parameter in own)
