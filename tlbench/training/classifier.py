"""A backbone with a linear head, and the modes in which it is trained."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.backbones.backbone import Backbone

BatchNormPolicy = Literal["train", "frozen"]


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


def train_mode(model: nn.Module, batch_norm: BatchNormPolicy) -> None:
    """Put the model into training mode; ``frozen`` keeps the running statistics of batch normalisation as they are.

    ``requires_grad=False`` does not stop those statistics from moving, and every ``train()`` call would set them
    moving again; so this is the one way into training mode. Scale and shift of the layers are ordinary parameters.
    """
    model.train()
    if batch_norm == "frozen":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
