"""Identities of prototypes and distances."""

from __future__ import annotations

import pytest
import torch

from tlbench.training.fewshot.prototypes import distance_logits, prototypes


def _episode(shots: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(3, 5 * shots, 8, generator=generator)
    orders = [torch.randperm(5 * shots, generator=generator) for _ in range(3)]
    labels = torch.stack([torch.arange(5).repeat(shots)[order] for order in orders])
    return support, labels, torch.randn(3, 11, 8, generator=generator)


def test_prototypes_are_class_means_for_unequal_shots_in_any_order() -> None:
    z = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [5.0, 8.0], [7.0, 7.0]]])
    centres = prototypes(z, torch.tensor([[1, 0, 1, 1]]), 2)
    torch.testing.assert_close(centres, torch.tensor([[[3.0, 4.0], [13 / 3, 5.0]]]))


def _apart(logits: torch.Tensor) -> torch.Tensor:
    """Logits without what the ways of a query share, which no probability sees."""
    return logits - logits.mean(-1, keepdim=True)


def test_logits_are_minus_squared_distances_up_to_what_ways_share() -> None:
    support, labels, query = _episode()
    centres = prototypes(support, labels, 5)
    expected = -(query[:, :, None] - centres[:, None]).square().sum(-1)
    logits = distance_logits(query, centres)
    torch.testing.assert_close(_apart(logits), _apart(expected), rtol=1e-5, atol=1e-5)
    shared = (query - centres.mean(1, keepdim=True)).square().sum(-1, keepdim=True)
    torch.testing.assert_close(logits - shared, expected, rtol=1e-5, atol=1e-5)


def test_a_training_sees_the_gradients_of_squared_distances() -> None:
    support, labels, query = (part.double() if part.is_floating_point() else part for part in _episode())
    found = []
    for read in (distance_logits, lambda z, c: -torch.cdist(z, c).square()):
        s, q = support.clone().requires_grad_(), query.clone().requires_grad_()
        logits = read(q, prototypes(s, labels, 5))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(33) % 5).backward()
        found.append((s.grad, q.grad))
    torch.testing.assert_close(*found)


def test_softmax_is_that_of_the_linear_classifier() -> None:
    support, labels, query = _episode()
    centres = prototypes(support, labels, 5)
    linear = 2 * query @ centres.transpose(1, 2) - centres.square().sum(2).unsqueeze(1)
    torch.testing.assert_close(distance_logits(query, centres).softmax(2), linear.softmax(2), rtol=1e-4, atol=1e-6)


def test_order_of_the_support_does_not_matter() -> None:
    support, labels, _ = _episode()
    order = torch.randperm(support.shape[1], generator=torch.Generator().manual_seed(1))
    shuffled = prototypes(support[:, order], labels[:, order], 5)
    torch.testing.assert_close(shuffled, prototypes(support, labels, 5))


def test_renaming_the_labels_renames_the_logits() -> None:
    support, labels, query = _episode()
    rename = torch.tensor([3, 0, 4, 1, 2])
    logits = distance_logits(query, prototypes(support, labels, 5))
    renamed = distance_logits(query, prototypes(support, rename[labels], 5))
    torch.testing.assert_close(renamed[:, :, rename], logits)


def test_one_shot_is_the_nearest_neighbour() -> None:
    support, labels, query = _episode(shots=1)
    chosen = distance_logits(query, prototypes(support, labels, 5)).argmax(2)
    nearest = torch.cdist(query, support).argmin(2)
    assert torch.equal(chosen, labels.gather(1, nearest))


@pytest.mark.parametrize("offset", [1.0, 100.0])
def test_moving_all_embeddings_changes_nothing(offset: float) -> None:
    support, labels, query = _episode()
    still = distance_logits(query, prototypes(support, labels, 5))
    moved = distance_logits(query + offset, prototypes(support + offset, labels, 5))
    torch.testing.assert_close(moved, still, rtol=1e-4, atol=1e-3)


def test_digits_far_from_the_origin_are_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    z, centres = (torch.randn(1, count, 512, generator=generator) + 100 for count in (50, 5))
    exact = distance_logits(z.double(), centres.double())
    torch.testing.assert_close(distance_logits(z, centres).double(), exact, rtol=0, atol=0.02)
    careless = 2 * z @ centres.transpose(1, 2) - centres.square().sum(2).unsqueeze(1)
    assert (_apart(careless.double()) - _apart(exact)).abs().max() > 0.2


def test_features_without_meaning_give_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    support, query = torch.randn(2000, 5, 8, generator=generator), torch.randn(2000, 5, 8, generator=generator)
    chosen = distance_logits(query, prototypes(support, torch.arange(5).expand(2000, 5), 5)).argmax(2)
    accuracy = (chosen == torch.arange(5)).double().mean().item()
    assert accuracy == pytest.approx(0.2, abs=4 * (0.16 / 10_000) ** 0.5)


def test_double_precision_stays_double() -> None:
    support, labels, query = (part.double() if part.is_floating_point() else part for part in _episode())
    centres = prototypes(support, labels, 5)
    expected = -(query[:, :, None] - centres[:, None]).square().sum(-1)
    torch.testing.assert_close(_apart(distance_logits(query, centres)), _apart(expected), rtol=1e-12, atol=1e-12)
    assert distance_logits(query.bfloat16(), centres.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("shots", [1, 5])
def test_answers_are_those_of_easyfsl(shots: int) -> None:
    """Its scores are distances that are not squared, so the answers must agree and the probabilities cannot."""
    easyfsl = pytest.importorskip("easyfsl.methods")
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.arange(5).repeat(shots)[torch.randperm(5 * shots, generator=generator)] for _ in "ab"])
    support = torch.randn(2, 5 * shots, 64, generator=generator)
    query = torch.randn(2, 200, 64, generator=generator)
    logits = distance_logits(query, prototypes(support, labels, 5))
    reference = easyfsl.PrototypicalNetworks(torch.nn.Identity())
    for ours, s, y, q in zip(logits, support, labels, query, strict=True):
        reference.process_support_set(s, y)
        theirs = reference(q)
        assert torch.equal(ours.argmax(1), theirs.argmax(1))
        torch.testing.assert_close(_apart(ours), _apart(-theirs.square()), rtol=1e-4, atol=1e-3)
        assert not torch.allclose(ours.softmax(1), theirs.softmax(1), atol=0.1)
