"""Linear probe: multinomial logistic regression, solved to convergence, on the frozen backbone's features.

The regularisation C is chosen on validation from a logarithmic grid, from strong to weak, each fit starting from the
last (Kornblith, Shlens and Le 2019, "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974, section 3).
Features are centred and divided by one number, their root mean square over the training examples, so that one grid
serves every backbone; this changes the scale of C and nothing else.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import linear

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig
from tlbench.data.dataset import Split, Task
from tlbench.training.context import Context
from tlbench.training.evaluate import Scores, score_logits
from tlbench.training.logistic import Array, Logistic
from tlbench.training.predictor import FeaturePredictor, Predictor

PROTOCOLS = ("classification",)
FROZEN_BACKBONE = True
GRID = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
UNTUNED = 1.0  # C where there is no validation to choose it on
ROUGH = 1e-4  # tolerance of the fits that are only compared


class Config(MethodConfig):
    """Parameters of the linear probe; nothing to search, since C is chosen inside every fit."""

    C: float | None = Field(None, gt=0, description="inverse regularisation; none chooses it on validation")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Fit the probe on the frozen features of the training examples."""
    z = ctx.frozen_features(task.train)
    mean = z.mean(0)
    scale = (z - mean).square().mean().sqrt().clamp_min(torch.finfo(z.dtype).tiny)
    problem = Logistic(_numpy((z - mean) / scale), task.train.labels, task.info.classes)
    val = None if task.val is None else (ctx.frozen_features(task.val) - mean) / scale
    c, start = cfg.C or UNTUNED, None
    if val is not None and task.val is not None and cfg.C is None:
        c, start = _choose(problem, val, task.val)
    weights, bias = (torch.from_numpy(part).float().to(z.device) for part in problem.linear(problem.solve(c, start)))
    head = partial(_head, mean=mean, scale=scale, weights=weights, bias=bias)
    ctx.selected["C"] = c
    if task.val is not None:
        scores = score_logits(head(ctx.frozen_features(task.val)), torch.from_numpy(task.val.labels).to(z.device))
        ctx.validation.update(scores._asdict())
    trained = weights.numel() + bias.numel()
    return FeaturePredictor(backbone, head, trainable=trained, stored=trained + mean.numel() + 1)


def _choose(problem: Logistic, z: Tensor, val: Split) -> tuple[float, Array]:
    """Return the C that is best on validation (of equals the strongest regularisation) and its rough solution."""
    inputs, labels = _numpy(z), torch.from_numpy(val.labels)
    tried: list[tuple[Scores, float, Array]] = []
    solution = None
    for c in GRID:
        solution = problem.solve(c, solution, tolerance=ROUGH)
        weights, bias = problem.linear(solution)
        tried.append((score_logits(torch.from_numpy(inputs @ weights.T + bias), labels), c, solution))
    _, c, solution = max(tried, key=lambda one: one[0].order)
    return c, solution


def _head(z: Tensor, *, mean: Tensor, scale: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    return linear((z - mean) / scale, weights, bias)


def _numpy(z: Tensor) -> NDArray[np.float64]:
    return z.double().cpu().numpy()
