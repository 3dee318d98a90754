"""k nearest neighbours by cosine on frozen features, each voting with weight exp(similarity / temperature).

Wu, Xiong, Yu and Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
arXiv:1805.01978, section 3.4; DINO (arXiv:2104.14294) evaluates the same way. Nothing is trained; k is chosen on
validation. Votes become probabilities as if one more neighbour shared its vote among all classes evenly, which keeps
their order and makes the likelihood finite.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.evaluate import score_logits
from tlbench.training.predictor import FeaturePredictor, Predictor

PROTOCOLS = ("classification",)
FROZEN_BACKBONE = True
GRID = (1, 3, 5, 10, 20, 50, 100, 200)
UNTUNED = 1  # k where there is no validation to choose it on, which is the case at one shot
_CHUNK = 2**25  # similarities held at once


class Config(MethodConfig):
    """Parameters of the nearest neighbours."""

    k: int | None = Field(None, ge=1, description="neighbours that vote; none chooses it on validation")
    temperature: float = tunable(0.07, log_uniform(0.01, 1.0), "sharpness of the votes", gt=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Keep the normalised features of the training examples, and choose k."""
    bank = normalize(ctx.frozen_features(task.train), dim=1)
    labels = torch.from_numpy(task.train.labels).to(bank.device)
    head = partial(_vote, bank=bank, labels=labels, classes=task.info.classes, temperature=cfg.temperature)
    k = min(cfg.k or UNTUNED, len(bank))
    if task.val is not None:
        z, truth = ctx.frozen_features(task.val), torch.from_numpy(task.val.labels).to(bank.device)
        grid = [k] if cfg.k else [candidate for candidate in GRID if candidate <= len(bank)]
        scores = {candidate: score_logits(head(z, k=candidate), truth) for candidate in grid}
        k = max(grid, key=lambda candidate: scores[candidate].order)
        ctx.validation.update(scores[k]._asdict())
    ctx.selected["k"] = k
    return FeaturePredictor(backbone, partial(head, k=k), trainable=0, stored=bank.numel() + len(labels))


def _vote(z: Tensor, *, bank: Tensor, labels: Tensor, classes: int, temperature: float, k: int) -> Tensor:
    """Return log-probabilities (B, classes) of features (B, D)."""
    member = one_hot(labels, classes).to(bank.dtype)
    out = []
    for piece in normalize(z.float(), dim=1).split(max(1, _CHUNK // len(bank))):
        similarity, nearest = (piece @ bank.T).topk(k)
        weights = (similarity / temperature).softmax(1)
        votes = torch.einsum("bk,bkc->bc", weights, member[nearest])
        out.append(((k * votes + 1 / classes) / (k + 1)).log())
    return torch.cat(out)
