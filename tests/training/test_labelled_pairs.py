"""Pairs of labelled examples: who is drawn, how often, in which batches, and the loss of their similarities."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU, fake_text_backbone, fake_texts
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.labelled_pairs import (
    PairBatch,
    PairBatches,
    Pairs,
    cosine_losses,
    draw_pairs,
    embed_rows,
    plan_rounds,
)

LABELS = torch.tensor([2, 0, 1, 0, 2, 2, 1, 0, 2, 0, 1])  # four, three and four examples, unsorted


def context(**changes: Any) -> Context:
    return Context(**{"random_root": "pairs-test", "device": CPU, **changes})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batches(labels: Tensor = LABELS, iterations: int = 3, size: int = 8, ctx: Context | None = None) -> PairBatches:
    return PairBatches(labels, plan_rounds(len(labels), iterations, size, 1000), ctx or context(), "pairs")


def examples_of(batch: PairBatch) -> Pairs:
    """The pairs of a batch as positions in the split."""
    return Pairs(batch.rows[batch.pairs.first], batch.rows[batch.pairs.second], batch.pairs.target)


@pytest.mark.parametrize(
    ("degrees", "target", "loss"),
    [(0, 1, 0.0), (0, 0, 1.0), (90, 0, 0.0), (90, 1, 1.0), (60, 0, 0.25), (60, 1, 0.25), (180, 1, 4.0), (180, 0, 1.0)],
)
def test_the_loss_is_the_squared_difference_of_cosine_and_target(degrees: int, target: int, loss: float) -> None:
    angle = math.radians(degrees)
    z = torch.tensor([[1.0, 0.0], [3 * math.cos(angle), 3 * math.sin(angle)]], dtype=torch.float64)
    pairs = Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([float(target)]))
    assert cosine_losses(z, pairs).item() == pytest.approx(loss, abs=1e-12)


def test_the_gradient_is_that_of_finite_differences_and_torchs_own_cosine() -> None:
    z = torch.randn(6, 5, generator=generator(), dtype=torch.float64).requires_grad_()
    pairs = Pairs(torch.tensor([0, 1, 2, 5]), torch.tensor([3, 4, 2, 0]), torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert torch.autograd.gradcheck(lambda each: cosine_losses(each, pairs), z)
    own = nn.functional.mse_loss(torch.cosine_similarity(z[pairs.first], z[pairs.second]), pairs.target.double())
    torch.testing.assert_close(cosine_losses(z, pairs).mean(), own)
    (gradient,) = torch.autograd.grad(cosine_losses(z, pairs).sum(), z)
    assert gradient[2].abs().max() < 1e-12, "what is compared with itself is as near as it gets"
    assert (gradient * z).sum(1).abs().max() < 1e-12, "lengths do not matter"


def test_an_anchor_has_a_partner_of_its_class_and_one_of_another() -> None:
    anchors = torch.randperm(len(LABELS), generator=generator(1))
    pairs = draw_pairs(LABELS, anchors, generator())
    same, different = LABELS[pairs.first] == LABELS[pairs.second], pairs.target == 0
    assert torch.equal(pairs.first, anchors.repeat(2))
    assert torch.equal(same, ~different)
    assert same.sum() == different.sum() == len(LABELS)
    assert not (pairs.first == pairs.second).any()


def test_every_partner_is_equally_likely() -> None:
    draws = 3000
    anchors = torch.full((draws,), 2)  # of class 1, which has classes on both sides
    same, different = draw_pairs(LABELS, anchors, generator()).second.chunk(2)
    for partners, found in ((LABELS == 1).index_fill(0, torch.tensor(2), False), same), (LABELS != 1, different):
        counts, expected = torch.bincount(found, minlength=len(LABELS)), draws / int(partners.sum())
        assert torch.equal(counts > 0, partners)
        assert (counts[partners] - expected).abs().max() < 4 * math.sqrt(expected)


def test_an_example_that_is_alone_is_paired_with_itself_and_one_class_has_no_other() -> None:
    pairs = draw_pairs(torch.tensor([0, 1, 1]), torch.arange(3), generator())
    assert pairs.second[:3].tolist() == [0, 2, 1]
    assert pairs.second[3] in (1, 2)
    assert pairs.second[4:].tolist() == [0, 0]
    only = draw_pairs(torch.tensor([5, 5]), torch.arange(2), generator())
    assert (only.second.tolist(), only.target.tolist()) == ([1, 0], [1.0, 1.0])


def test_in_a_round_each_example_has_a_positive_and_a_negative_pair_and_batches_are_of_a_size() -> None:
    found = list(batches().epoch(0))
    pairs = [examples_of(batch) for batch in found]
    assert [len(each.first) for each in pairs] == [8, 7, 7]
    first, second, target = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    assert torch.bincount(first).tolist() == [2] * len(LABELS)
    assert torch.equal(LABELS[first] == LABELS[second], target == 1)
    assert torch.bincount(first[target == 1]).tolist() == [1] * len(LABELS)
    assert all(0.1 < float(each.target.mean()) < 0.9 for each in pairs), "both kinds are mixed"
    for batch in found:
        assert (
            len(batch.rows)
            == len(batch.rows.unique())
            == int(batch.pairs.first.max().maximum(batch.pairs.second.max())) + 1
        )


def test_only_what_is_paired_with_itself_is_embedded_twice() -> None:
    (batch,) = batches(torch.tensor([0, 1, 1]), 1, 16).epoch(0)
    assert sorted(batch.rows.tolist()) == [0, 0, 1, 2]
    itself = batch.pairs.first != batch.pairs.second
    assert itself.all(), "the two stand at different places, where dropout differs"
    pairs = examples_of(batch)
    assert sorted(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))[0] == (0, 0)


def test_rounds_are_new_and_depend_on_seed_and_number_alone() -> None:
    global_seeds = itertools.count()

    def drawn(number: int, root: str = "a") -> list[list[int]]:
        torch.manual_seed(next(global_seeds))
        pairs = [examples_of(batch) for batch in batches(ctx=context(random_root=root)).epoch(number)]
        return [torch.cat(part).tolist() for part in zip(*pairs, strict=True)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, "b")


@pytest.mark.parametrize(
    ("examples", "iterations", "most", "plan"),
    [
        (30, 20, 1000, (20, 30, 4)),
        (8, 20, 1000, (20, 8, 1)),
        (300, 20, 1000, (20, 300, 38)),
        (1500, 20, 1000, (5, 1500, 188)),  # 150 classes of 10 labels
        (7000, 20, 1000, (1, 7000, 875)),
        (8000, 20, 1000, (1, 8000, 1000)),
        (8001, 20, 1000, (1, 8000, 1000)),  # some have no pairs of their own
        (50_000, 20, 1000, (1, 8000, 1000)),
        (30, 20, 7, (1, 30, 4)),
        (2, 3, 1, (1, 2, 1)),
    ],
)
def test_rounds_are_left_out_where_they_take_too_many_steps(
    examples: int, iterations: int, most: int, plan: tuple[int, int, int]
) -> None:
    found = plan_rounds(examples, iterations, 16, most)
    assert found == plan
    assert found.rounds * found.batches <= most


def test_texts_are_embedded_in_pieces_of_a_length_and_keep_their_places_and_gradients() -> None:
    texts = fake_texts()
    backbone = fake_text_backbone().double().eval()
    twin, widths = copy.deepcopy(backbone), list[int]()
    backbone.prepare.register_forward_hook(lambda module, inputs, out: widths.append(out.shape[1]))
    rows = torch.randperm(200, generator=generator())[:40]
    examples = Examples(Split(texts.x, texts.y, np.arange(200)), CPU)
    z = embed_rows(backbone, examples, rows, context())
    expected = twin(torch.from_numpy(np.asarray(texts.x))[rows])
    torch.testing.assert_close(z, expected, rtol=1e-9, atol=1e-12)
    assert len(widths) == 4
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    weight = torch.randn(z.shape, generator=generator(), dtype=z.dtype)
    (z * weight).sum().backward()
    (expected * weight).sum().backward()
    for own, other in zip(backbone.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-8, atol=1e-10)
