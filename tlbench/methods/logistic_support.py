"""A good embedding is all you need: logistic regression on the normalised frozen features of each support set.

Tian, Wang, Krishnan, Tenenbaum and Isola 2020, "Rethinking Few-Shot Image Classification: a Good Embedding Is All You
Need?", arXiv:2003.11539, section 3. The backbone is used as given; the paper's is pre-trained (``supervised``).
The inverse regularisation C is the same in all episodes, and chosen on episodes of the validation classes.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig
from tlbench.core.info import BackboneInfo, TaskInfo
from tlbench.core.record import Footprint
from tlbench.data.dataset import Task
from tlbench.training.context import Context
from tlbench.training.fewshot.episodes import episode_scores, validation_episodes
from tlbench.training.fewshot.support_logistic import BatchedLogisticProblem
from tlbench.training.predictor import EmbeddingEpisodeLearner

PROTOCOLS = ("episodic",)
FROZEN_BACKBONE = True
_VALIDATION_EPISODES = 200
_GRID = (0.1, 1.0, 10.0, 100.0, 1000.0)
_UNTUNED = 1.0  # C where there is no validation to choose it on; the paper's value


class Config(MethodConfig):
    """Parameters of logistic regression on the support; nothing to search, since C is chosen inside every fit."""

    C: float | None = Field(None, gt=0, description="inverse regularisation; null chooses it on validation")


def skip(info: TaskInfo, backbone: BackboneInfo, cfg: Config) -> str | None:
    """Refuse episodes without a number of shots."""
    return "an episode has a number of shots, not all examples" if info.shots == "full" else None


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> EmbeddingEpisodeLearner:
    """Choose C; everything else is fitted on the support of each episode."""
    c = cfg.C or _UNTUNED
    episodes = validation_episodes(task.info, task.val, _VALIDATION_EPISODES, ctx)
    if episodes is not None and task.val is not None:
        grid = (cfg.C,) if cfg.C else _GRID
        learners = {each: LogisticRegressionLearner(backbone, each, task.info.classes) for each in grid}
        scores = {each: episode_scores(learner, task.val, episodes, ctx) for each, learner in learners.items()}
        c = max(grid, key=lambda each: scores[each].order)
        ctx.report_validation(scores[c])
    ctx.selected["C"] = c
    return LogisticRegressionLearner(backbone, c, task.info.classes)


class LogisticRegressionLearner:
    """Solves an episode by logistic regression on its support; the embedding is the backbone as given."""

    encoder: nn.Module | None = None
    transductive = False

    def __init__(self, backbone: Backbone, c: float, ways: int) -> None:
        self._backbone = backbone
        self._c = c
        self._ways = ways

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return logits (E, Q, ways) of embedded queries (E, Q, D)."""
        support, query = normalize(support, dim=2), normalize(query, dim=2)
        weights, bias = (part.to(query.dtype) for part in BatchedLogisticProblem(support, labels, ways).solve(self._c))
        return torch.baddbmm(bias.unsqueeze(1), query, weights.transpose(1, 2))

    def footprint(self) -> Footprint:
        """Return the parameter counts and the storage that a task needs."""
        fitted = self._ways * (self._backbone.out_dim + 1)
        total = sum(parameter.numel() for parameter in self._backbone.parameters())
        return Footprint(trainable=fitted, total=total + fitted, stored_bytes=4 * fitted)
