"""A backbone under a bottleneck and a linear head, which answers with the features that domains are aligned by."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig
from tlbench.training.parameter_groups import ParameterGroup, parameter_groups


class BottleneckClassifier(nn.Module):
    """Backbone, bottleneck (linear, batch normalisation, ReLU) and a linear head that starts at zero.

    The form that comparisons of adaptation methods took: Long et al. 2018, arXiv:1705.10667, section 4.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        classes: Number of classes.
        width: Of the bottleneck; None has none, and the head reads the backbone.

    Attributes:
        out_dim: Width of the features that the head reads.
    """

    def __init__(self, backbone: Backbone, classes: int, width: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.out_dim = backbone.out_dim if width is None else width
        self.bottleneck: nn.Module = nn.Identity()
        if width is not None:
            self.bottleneck = nn.Sequential(nn.Linear(backbone.out_dim, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(self.out_dim, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def encode(self, x: Tensor) -> Tensor:
        """Return the features (B, out_dim) that the head reads."""
        return self.bottleneck(self.backbone(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs."""
        return self.head(self.encode(x))

    def groups(self, cfg: AdaptationConfig, *more: Iterable[nn.Parameter]) -> list[ParameterGroup]:
        """Return optimiser groups: the backbone at its own rate, all above it and whatever else is trained at ``lr``.

        A backbone of random weights has nothing to keep and is trained at ``lr`` as well.

        Args:
            cfg: Rates and decay.
            *more: Parameters beside the classifier's, as those of a discriminator.
        """
        multiplier = 1.0 if self.backbone.info.weights == "random" else cfg.backbone_multiplier
        above = [p for part in (self.bottleneck.parameters(), self.head.parameters(), *more) for p in part]
        return parameter_groups([(self.backbone.parameters(), cfg.lr * multiplier), (above, cfg.lr)], cfg.weight_decay)
