"""The domain discriminator of adversarial adaptation, and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class Discriminator(nn.Module):
    """A perceptron with two hidden layers and batch normalisation.

    Ganin et al. 2016, arXiv:1505.07818, in the form of later work (Long et al. 2018, arXiv:1705.10667).

    Args:
        inputs: Width D of the features.
        width: Units of each hidden layer.
        generator: Generator of the initial weights, uniform in +-1 / sqrt(inputs of the layer); biases are zero.
    """

    def __init__(self, inputs: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 1),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -(layer.in_features**-0.5), layer.in_features**-0.5, generator)
                nn.init.zeros_(layer.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Return the logits (B,) of features (B, D) being from the source."""
        logits: Tensor = self.layers(z).squeeze(1)
        return logits


def domain_loss(logits: Tensor, count: int, weights: Tensor | None = None) -> Tensor:
    """Return the mean of both domains' mean binary cross-entropies; ln 2 for logits of zero.

    Args:
        logits: Logits of being from the source (B,), the source's examples first; of any magnitude.
        count: Number of examples from the source.
        weights: Weights of the examples within their domains (B,); None is equal weights.
    """
    losses = softplus(torch.cat([-logits[:count], logits[count:]]))
    weights = torch.ones_like(losses) if weights is None else weights
    parts = zip(losses.tensor_split([count]), weights.tensor_split([count]), strict=True)
    return torch.stack([(part * weight).sum() / weight.sum() for part, weight in parts]).mean()
