"""The network of adaptation methods: a backbone, a bottleneck whose features are aligned, and a linear head."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import AdaptationConfig
from tlbench.training.parameter_groups import ParameterGroup, parameter_groups


class BottleneckClassifier(nn.Module):
    """Backbone, bottleneck (linear, batch normalisation, ReLU) and a linear head that is initialised to zero.

    The architecture usual in comparisons of adaptation methods: Long et al. 2018, arXiv:1705.10667, section 4.

    Args:
        backbone: Maps raw inputs (B, ...) to features (B, out_dim).
        classes: Number of classes.
        width: Width of the bottleneck; with None there is none, and the head reads the backbone's features.

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
        z: Tensor = self.bottleneck(self.backbone(x))
        return z

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of raw inputs."""
        logits: Tensor = self.head(self.encode(x))
        return logits

    def groups(self, cfg: AdaptationConfig, *others: Iterable[nn.Parameter]) -> list[ParameterGroup]:
        """Return optimiser groups: the backbone at its own learning rate, all other parameters at ``cfg.lr``.

        A backbone with random weights is trained at ``cfg.lr`` as well.

        Args:
            cfg: Learning rates and weight decay.
            *others: Parameters that are trained beside the classifier's, such as those of a discriminator.
        """
        multiplier = 1.0 if self.backbone.info.weights == "random" else cfg.backbone_multiplier
        upper = [p for part in (self.bottleneck.parameters(), self.head.parameters(), *others) for p in part]
        return parameter_groups([(self.backbone.parameters(), cfg.lr * multiplier), (upper, cfg.lr)], cfg.weight_decay)
