"""A backbone with a linear head, and the modes in which it is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import BatchNorm


class Classifier(nn.Module):
    """A backbone under a linear head that starts at zero, so that training starts from uniform predictions.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        classes: Number of classes.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.out_dim, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs."""
        return self.head(self.backbone(x))


def random_head(width: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear head whose weights are small and random, as PyTorch draws them, and whose biases are zero."""
    head = nn.Linear(width, outputs)
    nn.init.uniform_(head.weight, -(width**-0.5), width**-0.5, generator=generator)
    nn.init.zeros_(head.bias)
    return head


def train_mode(model: nn.Module, batch_norm: BatchNorm) -> None:
    """Put the model into training mode; running statistics of batch normalisation move only where they should.

    They stay under the policy ``frozen``, and in every layer whose scale and shift are frozen: ``requires_grad=False``
    does not stop them from moving, and every ``train()`` call would set them moving again. So this is the one way
    into training mode.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and (batch_norm == "frozen" or _is_frozen(module)):
            module.eval()


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters())
    return bool(own) and not any(parameter.requires_grad for parameter in own)
