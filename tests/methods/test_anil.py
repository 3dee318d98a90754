"""ANIL against closed forms and the library higher, and what must not depend on how it is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from tlbench.methods.anil import Config, Embedding, HeadDescentLearner
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.context import Context
from tlbench.training.predictor import EmbeddingEpisodeLearner

WAYS, SHOTS, QUERIES, EPISODES = 3, 2, 4, 5
RATE = 0.375  # which single precision has exactly
DOUBLE = torch.float64
Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def _learner(**params: Any) -> tuple[HeadDescentLearner, Embedding]:
    cfg = Config(**{"inner_lr": RATE, **params})
    embedding = Embedding(fake_backbone(), WAYS, torch.Generator().manual_seed(0)).double()
    return HeadDescentLearner(embedding, cfg), embedding


def _features(episodes: int = EPISODES) -> Parts:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(WAYS).repeat(episodes, SHOTS)
    truth = torch.arange(WAYS).repeat(episodes, QUERIES)
    centres = torch.randn(episodes, WAYS, 8, generator=generator, dtype=DOUBLE)
    support, query = (
        torch.stack([c[y] for c, y in zip(centres, labels_of, strict=True)]) for labels_of in (labels, truth)
    )
    noise = [torch.randn(each.shape, generator=generator, dtype=DOUBLE) / 2 for each in (support, query)]
    return support + noise[0], labels, query + noise[1], truth


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_gradient_equals_that_of_higher(order: int, steps: int) -> None:
    """With respect to the start of the head, and to the features of support and queries."""
    higher = pytest.importorskip("higher")
    learner, embedding = _learner(order=order, inner_steps=steps)
    support, labels, query, truth = _features()
    given = [support.requires_grad_(), query.requires_grad_(), *embedding.head.parameters()]
    found = torch.autograd.grad(learner.loss(support, labels, query, truth, WAYS), given, materialize_grads=True)
    sums = [torch.zeros_like(each) for each in given]
    for x, y, q, t in zip(support, labels, query, truth, strict=True):
        tracked = {"copy_initial_weights": False, "track_higher_grads": order == 2}
        inner = torch.optim.SGD(embedding.head.parameters(), lr=RATE)
        with higher.innerloop_ctx(embedding.head, inner, **tracked) as (adapted, descent):
            for _ in range(steps):
                descent.step(cross_entropy(adapted(x), y))
            loss = cross_entropy(adapted(q), t) / EPISODES
            at = [*given[:2], *(embedding.head if order == 2 else adapted).parameters()]
            each = torch.autograd.grad(loss, at, materialize_grads=True)
            sums = [a + b for a, b in zip(sums, each, strict=True)]
    for one, other in zip(found, sums, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
    assert found[0].any() == (order == 2), "the support's features matter to second order only"


def test_one_step_from_zero_is_a_weighed_mean() -> None:
    """W = (rate / S) sum_i (onehot_i - 1 / N) z_i, and the same of ones for the biases."""
    learner, embedding = _learner(test_steps=1)
    nn.init.zeros_(embedding.head.weight)
    support, labels, query, _ = _features()
    shares = (one_hot(labels, WAYS).double() - 1 / WAYS) * RATE / labels.shape[1]
    expected = query @ (shares.mT @ support).mT + shares.sum(1, keepdim=True)
    torch.testing.assert_close(learner.classify(support, labels, query, WAYS), expected, rtol=1e-12, atol=1e-12)


def test_orders_differ_on_the_features() -> None:
    support, labels, query, truth = _features()
    support.requires_grad_()
    second = _learner(order=2)[0].loss(support, labels, query, truth, WAYS)
    first = _learner(order=1)[0].loss(support, labels, query, truth, WAYS)
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    assert torch.autograd.grad(second, support)[0].norm() > 1e-3
    assert not torch.autograd.grad(first, support, allow_unused=True, materialize_grads=True)[0].any()


def test_episodes_are_solved_alone_and_alike() -> None:
    learner, embedding = _learner()
    support, labels, query, _ = _features()
    before = {name: value.clone() for name, value in embedding.state_dict().items()}
    with torch.no_grad():
        whole = learner.classify(support, labels, query, WAYS)
        one = learner.classify(support[2:3], labels[2:3], query[2:3, :1], WAYS)
        turned = learner.classify(support.flip(1), labels.flip(1), query, WAYS)
    torch.testing.assert_close(one, whole[2:3, :1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(turned, whole, rtol=1e-12, atol=1e-12)
    assert not whole.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in embedding.state_dict().items())


def test_more_steps_tell_the_support_better() -> None:
    support, labels, _, _ = _features()
    told = []
    for steps in (1, 3, 10):
        logits = _learner(test_steps=steps)[0].classify(support, labels, support, WAYS)
        told.append(cross_entropy(logits.flatten(0, 1), labels.flatten()).item())
    assert told == sorted(told, reverse=True)


def test_fewer_ways_than_outputs_use_the_first_outputs() -> None:
    learner, embedding = _learner()
    support, labels, query, _ = _features()
    two = labels[0] < 2
    found = learner.classify(support[:, two], labels[:, two], query, 2)
    smaller = Embedding(fake_backbone(), 2, torch.Generator()).double()
    smaller.head.weight.data, smaller.head.bias.data = (p.data[:2] for p in embedding.head.parameters())
    expected = HeadDescentLearner(smaller, Config(inner_lr=RATE)).classify(support[:, two], labels[:, two], query, 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="outputs"):
        learner.classify(support, labels, query, WAYS + 1)


def _fit(**params: Any) -> tuple[HeadDescentLearner, Context]:
    method, ctx = registry.declaration("methods", "anil").load(), Context(random_root="anil-test", device=CPU)
    cfg = method.Config(**{"episodes": 8, "check_every": 4, "checks": 2, "per_step": 2, **params})
    return method.fit(fake_task("episodic").task, fake_backbone(), cfg, ctx), ctx


def test_training_moves_body_and_head() -> None:
    learner, _ = _fit()
    assert isinstance(learner, EmbeddingEpisodeLearner)
    encoder = learner.encoder
    assert isinstance(encoder, Embedding)
    given = fake_backbone()
    assert not any(
        torch.equal(a, b) for a, b in zip(encoder.backbone.parameters(), given.parameters(), strict=True) if a.ndim > 1
    )
    assert encoder.head.bias.any()
    assert learner.footprint().trainable == sum(p.numel() for p in encoder.parameters())
    x = torch.from_numpy(fake_task("episodic").test.x[:4])
    torch.testing.assert_close(encoder.eval()(x), encoder.backbone(x))


def test_schedules_of_the_rate() -> None:
    constant, cosine = (_fit(schedule=each)[1] for each in ("constant", "cosine"))
    assert constant.curves["train_loss"][-1] != cosine.curves["train_loss"][-1]


def test_refuses_all_shots() -> None:
    declared = registry.declaration("methods", "anil")
    info = fake_task("episodic").task.info
    assert "ways" not in Config.model_fields
    assert declared.skip is not None
    assert declared.skip(info, fake_backbone().info, Config()) is None
    full = type(info)(info.protocol, info.dataset, "full", info.classes, info.options)
    assert "number of shots" in declared.skip(full, fake_backbone().info, Config())
