"""Each metric equals the reference library's, and what examples contribute is what leaving them out shows."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor
from torch.nn.functional import one_hot

from tlbench.core.errors import UserError
from tlbench.plugins import discovery
from tlbench.plugins.metrics import metric_declaration, metric_names
from tlbench.training.metric import chosen_metric, metric_of

Answers = tuple[Tensor, Tensor]


def answers(classes: int, n: int, seed: int = 0, *, ties: bool = True) -> Answers:
    """Return logits (n, classes) and labels (n,) of imbalanced classes, half of the examples in the first."""
    g = torch.Generator().manual_seed(seed)
    shares = torch.tensor([0.5] + [0.5 / (classes - 1)] * (classes - 1))
    labels = torch.multinomial(shares, n, replacement=True, generator=g)
    logits = torch.randn(n, classes, generator=g) + 1.5 * one_hot(labels, classes)
    return (logits.round(decimals=1) if ties else logits), labels


def _areas(score: Callable[..., float], logits: Tensor, labels: Tensor) -> float:
    probabilities = logits.double().softmax(1).numpy()
    return float(np.mean([score((labels == c).numpy(), probabilities[:, c]) for c in labels.unique().tolist()]))


def _ece(logits: Tensor, labels: Tensor) -> float:
    confidence, answer = (part.numpy() for part in logits.softmax(1).max(1))
    right, error = answer == labels.numpy(), 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        error += abs((confidence[inside] - right[inside]).sum()) / len(labels)
    return error


REFERENCES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "accuracy": lambda z, y: reference.accuracy_score(y, z.argmax(1)),
    "balanced_accuracy": lambda z, y: reference.balanced_accuracy_score(y, z.argmax(1)),
    "macro_f1": lambda z, y: reference.f1_score(y, z.argmax(1), average="macro"),
    "auroc": lambda z, y: _areas(reference.roc_auc_score, z, y),
    "average_precision": lambda z, y: _areas(reference.average_precision_score, z, y),
    "log_loss": lambda z, y: reference.log_loss(y, z.double().softmax(1), labels=range(z.shape[1])),
    "ece": _ece,
}


def test_every_metric_has_a_reference() -> None:
    assert set(metric_names()) == set(REFERENCES)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_value_is_that_of_the_reference_library(name: str, classes: int) -> None:
    logits, labels = answers(classes, 300)
    assert metric_of(name).value(logits, labels) == pytest.approx(REFERENCES[name](logits, labels), abs=1e-6)


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "auroc", "average_precision", "log_loss"])
def test_a_class_that_is_neither_there_nor_answered_changes_nothing(name: str) -> None:
    logits, labels = answers(4, 200)
    more = torch.cat([logits[:, :3], torch.full((200, 1), -50.0), logits[:, 3:]], 1)
    moved, metric = labels + (labels == 3), metric_of(name)
    assert metric.value(more, moved) == pytest.approx(metric.value(logits, labels), abs=1e-6)
    assert metric.value(more, moved) == pytest.approx(REFERENCES[name](more, moved), abs=1e-6)
    np.testing.assert_allclose(metric.example_scores(more, moved), metric.example_scores(logits, labels), atol=1e-5)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("classes", "seed"), [(2, 0), (4, 1)])
def test_contributions_are_what_leaving_an_example_out_shows(name: str, classes: int, seed: int) -> None:
    logits, labels = answers(classes, 400, seed, ties=name != "ece")  # where bins have edges, ties lie on them
    metric = metric_of(name)
    value, scores = metric.value(logits, labels), metric.example_scores(logits, labels)
    assert scores.mean() == pytest.approx(metric.declared.sign * value, abs=1e-5)
    rows = range(0, 400, 8)
    without = [metric.value(logits[kept], labels[kept]) for row in rows for kept in [torch.arange(400) != row]]
    shown = 399 * (value - np.array(without))
    found = metric.declared.sign * scores[list(rows)] - value
    assert np.corrcoef(shown, found)[0, 1] > (0.95 if name == "ece" else 0.999)
    assert found.std() == pytest.approx(shown.std(), rel=0.1 if name == "ece" else 0.03)


def test_a_smaller_loss_is_a_larger_score() -> None:
    logits, labels = answers(3, 100)
    assert {name for name in metric_names() if metric_declaration(name).sign < 0} == {"ece", "log_loss"}
    assert metric_of("log_loss").example_scores(logits, labels).mean() == pytest.approx(
        -metric_of("log_loss").value(logits, labels), abs=1e-5
    )


def test_one_class_alone_has_no_auroc() -> None:
    with pytest.raises(UserError, match="two classes"):
        metric_of("auroc").value(torch.zeros(4, 3), torch.ones(4, dtype=torch.long))


CUSTOM = '''
"""Share of examples of the first class that are found."""

LABEL = "first recall"


def value(logits, labels):
    first = labels == 0
    return ((logits.argmax(1) == 0) & first).sum().item() / first.sum().item()
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Offer metrics as other distributions do."""

    def install(name: str, text: str) -> None:
        (tmp_path / f"own_{name}.py").write_text(text)
        point = EntryPoint(name, f"own_{name}", "tlbench.metrics")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(discovery, "entry_points", lambda group: [point] if group == "tlbench.metrics" else [])
        _forget()

    yield install
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for cached in (discovery.find, metric_declaration, metric_of):
        cached.cache_clear()


def test_a_metric_of_another_distribution_needs_only_a_value(installed: Any) -> None:
    installed("first_recall", CUSTOM)
    metric = chosen_metric({"metric": "first_recall"})
    assert metric is not None
    assert (metric.declared.constants.LABEL, metric.declared.sign) == ("first recall", 1)
    logits, labels = answers(3, 150, ties=False)
    scores = metric.example_scores(logits, labels)
    assert scores.mean() == pytest.approx(metric.value(logits, labels), abs=1e-6)
    # With as many groups as examples, leaving groups out is leaving examples out.
    first, right = labels == 0, logits.argmax(1) == 0
    recall = right[first].double().mean().item()
    expected = (first * (right.double() - recall)).numpy() / first.double().mean().item()
    assert np.corrcoef(scores - scores.mean(), expected)[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('LABEL = "x"\n', "defines 'value'"),
        ("def value(logits, labels): return 0.0\n", "'LABEL' is missing"),
        ('LABEL = "x"\nUNIT = "points"\ndef value(logits, labels): return 0.0\n', "UNIT"),
        ('LABEL = "x"\nLARGER = True\ndef value(logits, labels): return 0.0\n', "unknown constant 'LARGER'"),
    ],
)
def test_what_is_no_metric_is_refused(installed: Any, text: str, message: str) -> None:
    installed("odd", text)
    with pytest.raises(UserError, match=message):
        metric_declaration("odd")


def test_a_value_that_is_no_number_is_refused(installed: Any) -> None:
    installed("odd", 'LABEL = "odd"\ndef value(logits, labels): return float("nan")\n')
    with pytest.raises(UserError, match="metric odd: the value is nan"):
        metric_of("odd").value(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))


def test_accuracy_is_what_no_metric_means() -> None:
    assert chosen_metric({}) is None
    assert chosen_metric({"metric": "accuracy"}) is None
    with pytest.raises(UserError, match="unknown metric 'acuracy'"):
        chosen_metric({"metric": "acuracy"})
