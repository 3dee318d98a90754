"""Baseline++: the classifiers that it fits to many supports at once, against one loop each."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.fewshot.cosine_head import CosineHead, cosine_logits
from tlbench.training.recipe import Recipe


@pytest.fixture(scope="module")
def method() -> ModuleType:
    return registry.declaration("methods", "baseline_pp").load()


def _episodes(ways: int = 4, shots: int = 3, width: int = 6, count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack(
        [torch.arange(ways).repeat(shots)[torch.randperm(ways * shots, generator=generator)] for _ in range(count)]
    )
    return torch.randn(count, ways * shots, width, generator=generator, dtype=torch.float64) + 0.5, labels


def _one_by_one(z: Tensor, labels: Tensor, ways: int, scale: float, steps: int, lr: float) -> Tensor:
    """Directions of length one, by autograd and torch's own gradient descent, an episode after the other."""
    found = []
    for inputs, y in zip(z, labels, strict=True):
        head = CosineHead(inputs.shape[1], ways, scale, torch.Generator()).double()
        x = normalize(inputs, dim=1)
        with torch.no_grad():
            head.weight.copy_(normalize(torch.stack([x[y == label].mean(0) for label in range(ways)]), dim=1))
        optimizer = torch.optim.SGD(head.parameters(), lr, momentum=0.9)
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(head(inputs), y).backward()
            optimizer.step()
        found.append(normalize(head.weight.detach(), dim=1))
    return torch.stack(found)


@pytest.mark.parametrize(("shots", "width"), [(1, 6), (3, 6), (3, 40)])
def test_all_at_once_are_one_by_one(method: ModuleType, shots: int, width: int) -> None:
    z, labels = _episodes(shots=shots, width=width)
    found = normalize(method.fit_directions(z, labels, 4, 5.0, 30, 0.2), dim=2)
    torch.testing.assert_close(found, _one_by_one(z, labels, 4, 5.0, 30, 0.2), rtol=1e-8, atol=1e-8)


def test_classes_may_have_unequal_shots(method: ModuleType) -> None:
    z, labels = _episodes(ways=3, shots=4, count=1)
    labels = torch.tensor([[0, 0, 0, 0, 2, 0, 0, 1, 0, 2, 0, 0]])
    found = normalize(method.fit_directions(z, labels, 3, 10.0, 20, 0.1), dim=2)
    torch.testing.assert_close(found, _one_by_one(z, labels, 3, 10.0, 20, 0.1), rtol=1e-8, atol=1e-8)


def test_without_steps_a_class_is_the_mean_of_its_normalised_support(method: ModuleType) -> None:
    z, labels = _episodes()
    found = method.fit_directions(z, labels, 4, 10.0, 0, 0.1)
    x = normalize(z, dim=2)
    for directions, inputs, y in zip(found, x, labels, strict=True):
        for label in range(4):
            mean = inputs[y == label].mean(0)
            assert cosine_similarity(directions[label], mean, dim=0).item() == pytest.approx(1)
            assert directions[label].norm().item() == pytest.approx(1)


def test_steps_lower_the_loss_on_the_support(method: ModuleType) -> None:
    z, labels = _episodes()
    losses = []
    for steps in (0, 10, 100):
        logits = cosine_logits(z, method.fit_directions(z, labels, 4, 10.0, steps, 0.1), 10.0)
        losses.append(cross_entropy(logits.flatten(0, 1), labels.flatten()).item())
    assert losses[0] > losses[1] > losses[2]


def test_order_of_the_support_does_not_matter_and_renaming_renames(method: ModuleType) -> None:
    z, labels = _episodes()
    usual = method.fit_directions(z, labels, 4, 10.0, 50, 0.1)
    order, rename = torch.randperm(12, generator=torch.Generator().manual_seed(1)), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(method.fit_directions(z[:, order], labels[:, order], 4, 10.0, 50, 0.1), usual)
    torch.testing.assert_close(method.fit_directions(z, rename[labels], 4, 10.0, 50, 0.1)[:, rename], usual)


def test_examples_without_any_feature_are_no_obstacle(method: ModuleType) -> None:
    found = method.fit_directions(torch.zeros(1, 4, 6), torch.arange(4)[None], 4, 10.0, 10, 0.1)
    assert torch.isfinite(found).all()


def test_an_episode_leaves_the_body_alone_and_answers_by_the_fitted_directions(method: ModuleType) -> None:
    fake, ctx = fake_task("episodic"), Context(random_root="baseline", device=CPU)
    config = method.Config(epochs=2, scale=8.0, steps=5, support_lr=0.3)
    learner = method.fit(fake.task, fake_backbone(), config, ctx)
    assert 0 < ctx.validation["accuracy"] <= 1
    assert len(ctx.curves["train_loss"]) == 2
    before = {name: value.clone() for name, value in learner.encoder.state_dict().items()}
    z, labels = _episodes(width=8)
    query = z.flip(1)
    logits = learner.classify(z, labels, query, 4)
    expected = cosine_logits(query, method.fit_directions(z, labels, 4, 8.0, 5, 0.3), 8.0)
    torch.testing.assert_close(logits, expected)
    assert all(torch.equal(value, before[name]) for name, value in learner.encoder.state_dict().items())


def test_the_body_learns_under_a_cosine_head_over_all_training_classes(
    method: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def note(
        backbone: object, train: object, cfg: object, recipe: Recipe, head: str, scale: float, ctx: object
    ) -> None:
        asked.update(train=train, rates=(recipe.lr, recipe.head_lr), head=head, scale=scale)

    monkeypatch.setattr(method, "train_base_classifier", note)
    fake = fake_task("episodic")
    method.fit(fake.task, fake_backbone(), method.Config(lr=0.01, scale=7.0), Context(random_root="b", device=CPU))
    assert asked == {"train": fake.task.train, "rates": (0.01, 0.01), "head": "cosine", "scale": 7.0}
