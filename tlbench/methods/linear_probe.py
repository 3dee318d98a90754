"""Linear probe: multinomial logistic regression, solved to convergence, on the frozen backbone's features.

The regularisation C is chosen from a logarithmic grid, in ascending order, each fit starting from the last (Kornblith,
Shlens and Le 2019, "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3): by folds of the labelled
examples, or on validation. Features are centred and divided by a scalar, the root mean square of their lengths over the
training examples, so that one grid suits every backbone and every number of features; this changes only the scale of C.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, without
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.linear_probe import fit_probe
from tlbench.training.predictor import FeaturePredictor, Predictor

PROTOCOLS = ("classification",)
FROZEN_BACKBONE = True
VERSION = 2  # 1 divided features by the root mean square of their entries, and had a grid of C that ended too early


class Config(MethodConfig):
    """Parameters of the linear probe; nothing to search, since C is chosen inside every fit."""

    C: float | None = Field(None, gt=0, description="inverse regularisation; null chooses it")
    balance: Literal["none", "weights"] = Field(
        "none", description="whether classes of different size count the same, by weights of the loss"
    )

    @model_serializer(mode="wrap")
    def _to_stored(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(handler(self), "balance", "none")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Fit the probe on the frozen features of the training examples."""
    probe = fit_probe(task, ctx, cfg.C, balanced=cfg.balance == "weights")
    ctx.selected["C"] = probe.C
    if probe.scores is not None:
        ctx.report_validation(probe.scores)
    trained = probe.weights.numel() + probe.bias.numel()
    return FeaturePredictor(backbone, probe, trainable=trained, stored=trained + probe.mean.numel() + 1)
