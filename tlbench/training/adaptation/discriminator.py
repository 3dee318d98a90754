"""The network that tells two domains apart by their features, and the loss that it and the features fight over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class Discriminator(nn.Module):
    """A perceptron with two hidden layers under batch normalisation.

    Ganin et al. 2016, arXiv:1505.07818, in the form that later work took (Long et al. 2018, arXiv:1705.10667).

    Args:
        inputs: Width of the features.
        width: Units of each hidden layer.
        generator: Draws the weights, uniform in +-1 / sqrt(inputs of the layer); biases start at zero.
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
        """Return the logits (B,) of features (B, D) coming from the source."""
        return self.layers(z).squeeze(1)


def domain_loss(logits: Tensor, count: int, weights: Tensor | None = None) -> Tensor:
    """Return half the sum of both domains' mean binary cross-entropies: ln 2 where nothing is known.

    Args:
        logits: Of coming from the source (B,), the source's examples first; finite losses up to any size of them.
        count: How many come from the source.
        weights: Of the examples within their domains (B,); None weighs all alike.
    """
    losses = softplus(torch.cat([-logits[:count], logits[count:]]))
    weights = torch.ones_like(losses) if weights is None else weights
    parts = zip(losses.tensor_split([count]), weights.tensor_split([count]), strict=True)
    return torch.stack([(part * weight).sum() / weight.sum() for part, weight in parts]).mean()
