"""k nearest neighbours by cosine on frozen features, each voting with weight exp(similarity / temperature).

Wu, Xiong, Yu and Lin 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
arXiv:1805.01978, section 3.4; DINO (arXiv:2104.14294) evaluates the same way. Nothing is trained; k is chosen by folds
of the labelled examples, or on validation. Votes are turned into probabilities by one additional neighbour that votes
for all classes equally, which preserves their order and makes the likelihood finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, log_uniform, tunable
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.nearest_neighbours import find_neighbours, neighbour_logits, vote_logits
from tlbench.training.predictor import FeaturePredictor, Predictor
from tlbench.training.validation_scores import ValidationScores, by_likelihood, score_logits

PROTOCOLS = ("classification",)
FROZEN_BACKBONE = True
_GRID = (1, 3, 5, 10, 20, 50, 100, 200)
_UNTUNED = 1  # k where there is nothing to choose it by, which is the case at one shot


class Config(MethodConfig):
    """Parameters of the nearest neighbours."""

    k: int | None = Field(None, ge=1, description="number of neighbours; null chooses it")
    temperature: float = tunable(0.07, log_uniform(0.01, 1.0), "sharpness of the votes", gt=0)


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> Predictor:
    """Store the normalised features of the training examples, and choose k."""
    bank = normalize(ctx.frozen_features(task.train), dim=1)
    labels = torch.from_numpy(task.train.labels).to(bank.device)
    vote = partial(vote_logits, classes=task.info.classes, temperature=cfg.temperature)
    k = min(cfg.k or int(ctx.fixed.get("k", _UNTUNED)), len(bank))
    grid = (k,) if cfg.k or "k" in ctx.fixed else _GRID
    scores = _scores(task, bank, labels, grid, vote, ctx)
    if scores:
        k = ctx.choose("k", scores, by_likelihood)
        ctx.report_validation(scores[k])
    ctx.selected["k"] = k
    head = partial(neighbour_logits, bank=bank, labels=labels, k=k, vote=vote)
    return FeaturePredictor(backbone, head, trainable=0, stored=bank.numel() + len(labels))


def _scores(
    task: Task, bank: Tensor, labels: Tensor, grid: Sequence[int], vote: partial[Tensor], ctx: Context
) -> dict[int, ValidationScores]:
    """Return the scores of each k, over all folds of the bank (n, D) or on validation; empty where there is neither."""
    pairs: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []  # what neighbours are taken from, and what votes are on
    for fitted, scored in task.choosing():
        given = torch.from_numpy(fitted).to(bank.device)
        if scored is not None:
            own = torch.from_numpy(scored).to(bank.device)
            pairs.append((bank[given], labels[given], bank[own], labels[own]))
        elif task.val is not None:
            truth = torch.from_numpy(task.val.labels).to(bank.device)
            pairs.append((bank[given], labels[given], ctx.frozen_features(task.val), truth))
    if not pairs:
        return {}
    grid = [count for count in grid if count <= min(len(given) for given, *_ in pairs)]
    votes: dict[int, list[Tensor]] = {count: [] for count in grid}
    for given, of_given, z, _ in pairs if grid else ():
        similarity, neighbours = find_neighbours(z, given, of_given, grid[-1])
        for count in grid:
            votes[count].append(vote(similarity[:, :count], neighbours[:, :count]))
    truths = torch.cat([truth for *_, truth in pairs])
    return {count: score_logits(torch.cat(parts), truths, ctx.metric) for count, parts in votes.items()}
