"""Mixtures of images and labels against their definitions, and the batches that hold them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU
from tlbench.training.augmentation.mixing import Mixed, Mixtures, apply_mixtures, sample_mixtures
from tlbench.training.augmentation.policy import Augmentation, apply_changes
from tlbench.training.batches import Batch, Batches, Examples
from tlbench.training.batches import Mixed as MixedLabels
from tlbench.training.context import Context
from tlbench.training.process_group import ProcessGroup
from tlbench.training.supervised_loop import label_losses

SHAPE = (3, 20, 30)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, (count, *SHAPE), generator=generator(seed), dtype=torch.uint8)


def test_mixup_is_the_weighted_mean() -> None:
    x, others = images(4), images(4, 2)
    shares = torch.tensor([0.0, 0.25, 0.5, 1.0])
    out = apply_mixtures(x, others, Mixtures(torch.arange(4), shares, None))
    for row, share in enumerate(shares):
        torch.testing.assert_close(out[row], share * x[row].float() + (1 - share) * others[row].float())


def test_a_cut_is_the_others_box_and_its_area_is_the_others_share() -> None:
    count = 300
    x, others = torch.zeros(count, *SHAPE), torch.ones(count, *SHAPE)
    drawn = sample_mixtures("cutmix", 1.0, count, SHAPE, generator())
    out = apply_mixtures(x, others, drawn)
    torch.testing.assert_close(out.mean((1, 2, 3)), 1 - drawn.shares, rtol=0, atol=1e-6)
    assert drawn.boxes is not None
    for row, (top, left, bottom, right) in enumerate(drawn.boxes.tolist()):
        assert 0 <= top <= bottom <= SHAPE[1]
        assert 0 <= left <= right <= SHAPE[2]
        assert out[row, :, top:bottom, left:right].all()
        assert out[row].sum() == 3 * (bottom - top) * (right - left)
    inside = ((drawn.boxes[:, :2] > 0) & (drawn.boxes[:, 2:] < torch.tensor(SHAPE[1:]))).all(1)
    sides = (drawn.boxes[:, 2:] - drawn.boxes[:, :2])[inside].double()
    assert ((sides[:, 0] / 20 - sides[:, 1] / 30).abs() < 2 / 20).all(), "an uncut box has the image's proportions"


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_weights_have_the_moments_of_the_beta_distribution(alpha: float) -> None:
    shares = sample_mixtures("mixup", alpha, 20_000, SHAPE, generator()).shares.double()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 4 * (variance / 20_000) ** 0.5
    assert abs(shares.var() - variance) < 0.05 * variance


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_draws_come_from_the_generator_alone(mix: Mixed) -> None:
    first = sample_mixtures(mix, 1.0, 50, SHAPE, generator(3))
    torch.rand(5)
    np.random.default_rng().random()
    second = sample_mixtures(mix, 1.0, 50, SHAPE, generator(3))
    other = sample_mixtures(mix, 1.0, 50, SHAPE, generator(4))
    assert torch.equal(first.shares, second.shares)
    assert torch.equal(first.partners, second.partners)
    assert first.partners.sort().values.tolist() == list(range(50))
    assert not torch.equal(first.shares, other.shares)
    assert len(first.shares.unique()) > 20, "every image has a weight of its own"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_mixed_label(smoothing: float) -> None:
    logits = torch.randn(6, 4, generator=generator(), dtype=torch.float64)
    y, other = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 1, 0, 2, 1, 1])
    shares = torch.rand(6, generator=generator(2), dtype=torch.float64)
    batch = Batch(torch.arange(6), torch.empty(6), y, 6, MixedLabels(other, shares))
    soft = shares[:, None] * one_hot(y, 4) + (1 - shares[:, None]) * one_hot(other, 4)
    expected = cross_entropy(logits, soft, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(label_losses(logits, batch, smoothing), expected)
    plain = Batch(torch.arange(6), torch.empty(6), y, 6)
    expected = cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(label_losses(logits, plain, smoothing), expected)


COUNT = 21
SPLIT = Split(images(COUNT).numpy(), np.arange(COUNT) % 7, np.arange(COUNT))
AUGMENTATIONS = (
    Augmentation("crop_flip", mix="mixup", alpha=0.5),
    Augmentation(mix="cutmix"),
    Augmentation("shift", operations=2, magnitude=9.0, mix="cutmix"),
)


def batches(augmentation: Augmentation, ctx: Context) -> list[Batch]:
    return list(Batches(Examples(SPLIT, CPU), 8, augmentation, ctx, "fit").epoch(1))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_a_mixed_batch_is_made_of_its_changed_images(augmentation: Augmentation) -> None:
    """Written out with the same draws; labels are those of both images, and every example is in one batch."""
    ctx = Context(random_root="mixing", device=CPU)
    draws = ctx.generator("fit", "batches", 1)
    order = torch.randperm(COUNT, generator=draws)
    x = torch.from_numpy(SPLIT.x)
    found = batches(augmentation, ctx)
    for batch, rows in zip(found, order.tensor_split(3), strict=True):
        changes = augmentation.sample(len(rows), SHAPE, draws)
        mixtures = augmentation.sample_mixtures(len(rows), SHAPE, draws)
        assert mixtures is not None
        assert batch.mixed is not None
        changed = apply_changes(x[rows], changes)
        assert torch.equal(batch.rows, rows)
        assert torch.equal(batch.y, rows % 7)
        assert torch.equal(batch.mixed.y, rows[mixtures.partners] % 7)
        assert torch.equal(batch.mixed.shares, mixtures.shares)
        torch.testing.assert_close(batch.x, apply_mixtures(changed, changed[mixtures.partners], mixtures))


@pytest.mark.parametrize("augmentation", [*AUGMENTATIONS, Augmentation("shift_flip", operations=1)], ids=str)
def test_processes_hold_the_batch_of_one(augmentation: Augmentation) -> None:
    whole = batches(augmentation, Context(random_root="mixing", device=CPU))
    parts = [
        batches(augmentation, Context(random_root="mixing", device=CPU, group=ProcessGroup(rank, 3)))
        for rank in range(3)
    ]
    for batch, *shards in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat([shard.x for shard in shards]), batch.x, rtol=0, atol=1e-3)
        assert torch.equal(torch.cat([shard.y for shard in shards]), batch.y)
        if batch.mixed is not None:
            assert torch.equal(torch.cat([shard.mixed.y for shard in shards if shard.mixed]), batch.mixed.y)


def test_what_is_no_image_is_never_mixed() -> None:
    split = Split(np.zeros((5, 12), np.float32), np.zeros(5, np.int64), np.arange(5))
    ctx = Context(random_root="mixing", device=CPU)
    (batch,) = Batches(Examples(split, CPU), 8, Augmentation("shift", mix="mixup"), ctx, "fit").epoch(0)
    assert batch.mixed is None


def test_boxes_have_the_area_of_the_weight_that_was_drawn() -> None:
    """Half of the image where the weights of all are a half, as under a large alpha."""
    drawn = sample_mixtures("cutmix", 1e6, 500, (3, 200, 300), generator())
    assert drawn.boxes is not None
    uncut = ((drawn.boxes[:, :2] > 0) & (drawn.boxes[:, 2:] < torch.tensor([200, 300]))).all(1)
    assert uncut.sum() > 20
    assert (drawn.shares[uncut] - 0.5).abs().max() < 0.02
    assert drawn.shares[~uncut].min() > 0.48
