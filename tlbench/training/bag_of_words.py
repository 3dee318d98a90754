"""Bags of words: counts or TF-IDF weights of words, and a linear classifier of them.

Vocabulary and document frequencies are those of the texts that the classifier is fitted to; in a choice by folds, of
the other folds' texts alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.core.record import Footprint
from tlbench.data.dataset import Split, Task
from tlbench.training.context import Context
from tlbench.training.validation_scores import ValidationScores, by_likelihood, by_metric, score_logits

C_GRID = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""Values of the inverse regularisation C to choose from; of texts whose weights have length 1."""

DEFAULT_C = 1.0
"""C where there is nothing to choose it by."""

_ITERATIONS = 2000
_COMPARED_ITERATIONS = 100  # of fits that are only compared
_UNSEEN = 1e3  # how far the logit of a class without a fitted example is below the lowest one

Weighting = Literal["tfidf", "counts"]
Classifier = Literal["logistic", "svm"]


@dataclass(frozen=True)
class BagOfWords:
    """How texts become vectors, and what classifies them.

    Attributes:
        weighting: TF-IDF weights of length 1, or plain counts.
        longest: Longest run of words that counts as one.
        classifier: Multinomial logistic regression, or one linear SVM a class against the rest.
    """

    weighting: Weighting
    longest: int
    classifier: Classifier

    def fit(
        self,
        texts: Sequence[str],
        labels: NDArray[np.int64],
        classes: int,
        c: float,
        seed: int,
        iterations: int = _ITERATIONS,
    ) -> TextPredictor:
        """Fit vocabulary, weights and classifier.

        Args:
            texts: Texts (n).
            labels: Their labels (n,), 0 ... classes - 1.
            classes: Number of classes, any without examples included.
            c: Inverse regularisation.
            seed: Of the order in which the SVM's solver visits examples.
            iterations: Most iterations of the solver.
        """
        vectorizer = self._vectorizer()
        model = self._model(c, seed, iterations).fit(vectorizer.fit_transform(texts), labels)
        coefficients, bias, known = model.coef_, model.intercept_, model.classes_
        if len(known) == 2:  # one vector, for the second of two classes
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            bias = np.concatenate([np.zeros_like(bias), bias])
        return TextPredictor(vectorizer, coefficients, bias, known, classes)

    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

        kind = TfidfVectorizer if self.weighting == "tfidf" else CountVectorizer
        return kind(ngram_range=(1, self.longest))

    def _model(self, c: float, seed: int, iterations: int) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        if self.classifier == "svm":
            return LinearSVC(C=c, random_state=seed % 2**32, max_iter=iterations)
        return LogisticRegression(C=c, max_iter=iterations)


class TextPredictor:
    """A fitted classifier of texts.

    Args:
        vectorizer: Fitted; maps n texts to a sparse matrix (n, words).
        coefficients: Weights (k, words) of the classes that have examples.
        bias: Biases (k,).
        known: Labels of these classes (k,), in ascending order.
        classes: Number of all classes.
    """

    def __init__(
        self,
        vectorizer: Any,
        coefficients: NDArray[np.float64],
        bias: NDArray[np.float64],
        known: NDArray[np.int64],
        classes: int,
    ) -> None:
        self.vocabulary: dict[str, int] = vectorizer.vocabulary_
        self.weights, self.bias = torch.from_numpy(coefficients), torch.from_numpy(bias)
        self._vectorizer, self._known, self._classes = vectorizer, known, classes

    def logits(self, x: Sequence[str]) -> Tensor:
        """Return logits (n, classes) of texts: of the logistic regression, or margins of the SVMs."""
        scores = self._vectorizer.transform(x) @ self.weights.numpy().T + self.bias.numpy()
        if len(self._known) == self._classes:
            return torch.from_numpy(scores)
        logits = np.repeat(scores.min(1, keepdims=True) - _UNSEEN, self._classes, axis=1)
        logits[:, self._known] = scores
        return torch.from_numpy(logits)

    def footprint(self) -> Footprint:
        """Return the number of fitted values, and the bytes of these and of the vocabulary."""
        fitted = self.weights.numel() + self.bias.numel()
        stored = fitted + len(getattr(self._vectorizer, "idf_", ()))
        words = sum(len(word.encode()) + 1 for word in self.vocabulary)
        return Footprint(trainable=fitted, total=stored, stored_bytes=4 * stored + words)


def fit_bag_of_words(task: Task, kind: BagOfWords, c: float | None, ctx: Context) -> TextPredictor:
    """Fit a classifier to the texts of all training examples.

    Args:
        task: Training examples; validation examples or folds.
        kind: What to fit.
        c: Inverse regularisation; None chooses it from :data:`C_GRID` by the task's folds, or its validation examples:
            by likelihood, as the linear probe does, or by accuracy for the SVM, whose margins have none.
        ctx: C where it was chosen before, and randomness.
    """
    classes, seed = task.info.classes, ctx.seed("bag of words")
    scores: dict[float, ValidationScores] = {}
    if c is None and "C" in ctx.fixed:
        c = float(ctx.fixed["C"])
    if c is None:
        parts = _parts(task)
        scores = {each: _score(parts, kind, classes, each, ctx) for each in C_GRID} if parts else {}
        key = by_metric if kind.classifier == "svm" else by_likelihood
        c = ctx.choose("C", scores, key) if scores else DEFAULT_C
    ctx.selected["C"] = c
    predictor = kind.fit(task.train.x, task.train.labels, classes, c, seed)
    if task.val is not None:
        found = score_logits(predictor.logits(task.val.x), torch.from_numpy(task.val.labels), ctx.metric)
        ctx.report_validation(found)
    elif c in scores:
        ctx.report_validation(scores[c])
    return predictor


_Labelled = tuple[Sequence[str], NDArray[np.int64]]


def _parts(task: Task) -> list[tuple[_Labelled, _Labelled]]:
    """Return pairs of texts to fit to and to score on, by which C is chosen."""
    if task.folds is None:
        return [] if task.val is None else [(_labelled(task.train), _labelled(task.val))]
    texts, labels = _labelled(task.train)

    def where(chosen: NDArray[np.bool_]) -> _Labelled:
        return [texts[row] for row in np.flatnonzero(chosen).tolist()], labels[chosen]

    return [(where(task.folds != each), where(task.folds == each)) for each in range(int(task.folds.max()) + 1)]


def _labelled(split: Split) -> _Labelled:
    return split.x, split.labels


def _score(
    parts: Sequence[tuple[_Labelled, _Labelled]], kind: BagOfWords, classes: int, c: float, ctx: Context
) -> ValidationScores:
    """Return the scores of one C over all texts that are scored, from solutions that may be approximate."""
    seed = ctx.seed("bag of words")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fit did not converge
        fits = [kind.fit(*fitted, classes, c, seed, _COMPARED_ITERATIONS) for fitted, _ in parts]
    logits = [predictor.logits(scored[0]) for predictor, (_, scored) in zip(fits, parts, strict=True)]
    labels = np.concatenate([scored[1] for _, scored in parts])
    return score_logits(torch.cat(logits), torch.from_numpy(labels), ctx.metric)
