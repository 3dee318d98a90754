"""Classes of different size are evened out by weights or by sampling, as scikit-learn and arithmetic have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from tlbench.core.config import TrainingConfig
from tlbench.core.errors import UserError
from tlbench.data.dataset import Split, Task
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.augmentation.policy import UNCHANGED
from tlbench.training.batches import Batch, Batches, Examples, Mixed, class_weights
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.logistic_regression import LogisticProblem
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import LoopOptions, label_losses, train_classifier

LABELS = np.repeat([0, 2, 3], [40, 8, 2])


def context() -> Context:
    return Context(random_root="balance", device=CPU)


def uneven() -> Task:
    """The fake task with all training examples of one class and few of the others."""
    task = fake_task("classification").task
    kept = np.concatenate([np.flatnonzero(task.train.labels == c)[: None if c == 0 else 1] for c in range(3)])
    train = Split(task.train.x[kept], task.train.labels[kept], task.train.rows[kept])
    return replace(task, train=train, val=None, folds=None)


def test_weights_are_those_of_scikit_learn_and_of_mean_one() -> None:
    weights = class_weights(torch.from_numpy(LABELS))
    expected = compute_class_weight("balanced", classes=np.unique(LABELS), y=LABELS)
    assert weights[[0, 2, 3]].tolist() == pytest.approx(expected)
    assert weights[1] == 0
    assert weights[torch.from_numpy(LABELS)].mean().item() == pytest.approx(1)


def test_the_weighted_probe_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(size=(50, 6)) + LABELS[:, None]
    weights = class_weights(torch.from_numpy(LABELS)).double().numpy()[LABELS]
    problem = LogisticProblem(z, LABELS, 4, weights)
    found, bias = problem.linear(problem.solve(0.5, tolerance=1e-9))
    theirs = LogisticRegression(C=0.5, class_weight="balanced", tol=1e-10, max_iter=5000).fit(z, LABELS)
    logits, expected = z @ found.T + bias, z @ theirs.coef_.T + theirs.intercept_
    own = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(own[:, [0, 2, 3]], theirs.predict_proba(z), atol=2e-3)
    assert expected.shape == (50, 3)


def test_losses_are_weighted_by_each_label_of_mixed_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, weights = torch.randn(5, 3, generator=generator), torch.tensor([0.5, 2.0, 3.0])
    y, others, shares = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 2, 0, 1, 1]), torch.rand(5, generator=generator)
    batch = Batch(torch.arange(5), logits, y, 5)
    plain = weights[y] * cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(label_losses(logits, batch, 0.0, weights), plain)
    mixed = label_losses(logits, batch._replace(mixed=Mixed(others, shares)), 0.0, weights)
    theirs = weights[others] * cross_entropy(logits, others, reduction="none")
    torch.testing.assert_close(mixed, shares * plain + (1 - shares) * theirs)


def test_sampling_draws_all_classes_equally_often_and_as_many_examples() -> None:
    split = Split(np.zeros((50, 4), np.float32), LABELS, np.arange(50))
    batches = Batches(Examples(split, CPU), 16, UNCHANGED, context(), "fit", balanced=True)
    epochs = [torch.cat([batch.y for batch in batches.epoch(epoch)]) for epoch in range(200)]
    assert all(len(drawn) == 50 for drawn in epochs)
    assert torch.equal(epochs[0], torch.cat([batch.y for batch in batches.epoch(0)]))
    shares = torch.cat(epochs).bincount(minlength=4) / 10_000
    assert shares.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3], abs=0.02)
    usual = Batches(Examples(split, CPU), 16, UNCHANGED, context(), "fit")
    assert sorted(torch.cat([batch.rows for batch in usual.epoch(0)]).tolist()) == list(range(50))


@pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
def test_a_step_is_that_of_the_balance(balance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first gradient of the head's bias, whose logits are zero, tells how often each class counts."""
    task, ctx = uneven(), context()
    model = Classifier(fake_backbone(), task.info.classes)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr("torch.optim.AdamW.step", lambda self, *_: seen.append(model.head.bias.grad.clone()))
    cfg = TrainingConfig(epochs=1, batch_size=64, balance=balance, augment="none", clip_norm=None)
    train_classifier(model, parameter_groups([(model.parameters(), 0.1)], 0.0), task.train, None, cfg, ctx)
    counts = np.bincount(task.train.labels, minlength=task.info.classes)
    counted = 1 / task.info.classes - seen[0].numpy()
    present = counts > 0
    if balance == "none":
        np.testing.assert_allclose(counted, counts / counts.sum(), atol=1e-5)
    elif balance == "weights":
        np.testing.assert_allclose(counted[present], 1 / present.sum(), atol=1e-5)
    else:
        batches = Batches(Examples(task.train, CPU), 64, UNCHANGED, context(), "fit", balanced=True)
        drawn = np.bincount(next(batches.epoch(0)).y, minlength=task.info.classes)
        assert drawn.tolist() != counts.tolist()
        np.testing.assert_allclose(counted, drawn / drawn.sum(), atol=1e-5)


def test_weights_are_refused_for_another_loss() -> None:
    task = uneven()
    model = Classifier(fake_backbone(), task.info.classes)
    options = LoopOptions(loss=lambda logits, batch: logits.sum(1))
    with pytest.raises(UserError, match="balance: weights has no meaning"):
        train_classifier(
            model, parameter_groups([(model.parameters(), 0.1)], 0.0), task.train, None,
            TrainingConfig(epochs=1, balance="weights"), context(), options,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["finetune", "linear_probe", "lora", "lp_ft", "supervised"])
def test_the_usual_balance_is_no_part_of_what_a_cell_is(name: str) -> None:
    settings = registry.declaration("methods", name).settings
    assert "balance" not in settings().model_dump(mode="json")
    assert settings(balance="weights").model_dump(mode="json")["balance"] == "weights"
