"""Bag of words: TF-IDF weights of the words and a linear classifier, without any network; the baseline for texts.

Joachims 1998, "Text Categorization with Support Vector Machines", ECML; as a baseline of intents by Larson et al. 2019,
arXiv:1909.02027. The weights are those of scikit-learn. It reads the texts themselves, whatever backbones a grid lists,
and so has one row, with the backbone ``none``. The vocabulary and the document frequencies are of the training texts
alone. C is chosen as that of the linear probe is; of the SVM, whose margins are no logits, by accuracy.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig, choice, tunable
from tlbench.data.dataset import Task
from tlbench.training.bag_of_words import BagOfWords, TextPredictor, fit_bag_of_words
from tlbench.training.context import Context

PROTOCOLS = ("classification",)
MODALITIES = ("text",)
FROZEN_BACKBONE = True
BACKBONE = False


class Config(MethodConfig):
    """Parameters of the bag of words; C is chosen inside every fit."""

    classifier: Literal["logistic", "svm"] = tunable(
        "logistic", choice("logistic", "svm"), "multinomial logistic regression, or linear SVMs, one class against all"
    )
    weighting: Literal["tfidf", "counts"] = Field("tfidf", description="weights of words: TF-IDF, or how often each is")
    ngrams: int = tunable(1, choice(1, 2, 3), "longest run of words that counts as one", ge=1, le=5)
    C: float | None = Field(None, gt=0, description="inverse regularisation; null chooses it")


def fit(task: Task, backbone: Backbone, cfg: Config, ctx: Context) -> TextPredictor:
    """Fit the classifier to the training texts."""
    return fit_bag_of_words(task, BagOfWords(cfg.weighting, cfg.ngrams, cfg.classifier), cfg.C, ctx)
