"""Views of images: what is drawn, and what is done, against torchvision image by image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from torch import Tensor

from tlbench.core.config import Views
from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU
from tlbench.training.augmentation.colour import jitter, luma, shift_hue
from tlbench.training.augmentation.placement import affine_matrices, crop_matrices
from tlbench.training.batches import Examples
from tlbench.training.context import Context
from tlbench.training.process_group import ProcessGroup
from tlbench.training.selfsupervised import views
from tlbench.training.selfsupervised.blur import blur
from tlbench.training.selfsupervised.views import (
    VIEW_POLICIES,
    ViewBatch,
    ViewBatches,
    ViewPolicy,
    ViewTransforms,
    apply_view_transforms,
    sample_view_transforms,
    view_policy,
)

MANY = 20_000


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _photographs(count: int = 6, size: int = 24, channels: int = 3) -> Tensor:
    """Smooth random images with dark, bright, grey and saturated places."""
    coarse = torch.rand(count, channels, 4, 4, generator=_generator(5), dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return 255 * ((smooth - 0.5) * 2 + 0.5).clamp(0, 1)


def _still(count: int) -> ViewTransforms:
    """The changes that change nothing."""
    one, zero = torch.ones(count), torch.zeros(count)
    maps = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(count, 2, 3)
    return ViewTransforms(maps, one, one, one, zero, zero > 0, zero)


def _share(chosen: Tensor, expected: float) -> None:
    """Four standard errors."""
    found = chosen.double().mean().item()
    assert abs(found - expected) <= 4 * (expected * (1 - expected) / len(chosen)) ** 0.5


def test_changes_that_change_nothing_give_the_image_back() -> None:
    x = _photographs()
    torch.testing.assert_close(apply_view_transforms(x, _still(len(x))), x, rtol=0, atol=1e-9)
    raw = x.round().to(torch.uint8)
    out = apply_view_transforms(raw, _still(len(x)))
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, raw.float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_process_without_a_share_has_no_views(channels: int) -> None:
    drawn = sample_view_transforms(VIEW_POLICIES["objects"], 1.0, 0, _generator())
    assert apply_view_transforms(torch.zeros(0, channels, 28, 28, dtype=torch.uint8), drawn).shape == (
        0,
        channels,
        28,
        28,
    )


def test_without_strength_no_colour_changes() -> None:
    for policy in VIEW_POLICIES.values():
        drawn = sample_view_transforms(policy, 0.0, 200, _generator())
        assert all(torch.equal(part, torch.ones(200)) for part in drawn[1:4])
        assert not drawn.hue.any()


def test_draws_come_from_the_generator_alone_and_differ_between_images() -> None:
    for policy in VIEW_POLICIES.values():
        first = sample_view_transforms(policy, 1.0, 50, _generator(3))
        torch.rand(7)
        second = sample_view_transforms(policy, 1.0, 50, _generator(3))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert len(first.matrices.flatten(1).unique(dim=0)) == 50
        other = sample_view_transforms(policy, 1.0, 50, _generator(4))
        assert not torch.equal(first.matrices, other.matrices)


def test_equal_images_become_different_views() -> None:
    x = _photographs(1).expand(40, -1, -1, -1)
    out = apply_view_transforms(x, sample_view_transforms(VIEW_POLICIES["objects"], 1.0, 40, _generator()))
    assert out.shape == x.shape
    apart = torch.cdist(out.flatten(1), out.flatten(1)) + 1e9 * torch.eye(40)
    assert apart.min() > 100


def test_what_is_done_to_one_image_does_not_depend_on_the_others() -> None:
    x = _photographs(8)
    drawn = sample_view_transforms(VIEW_POLICIES["objects"], 1.0, 8, _generator(2))
    together = apply_view_transforms(x, drawn)
    for place in range(8):
        alone = apply_view_transforms(x[place : place + 1], drawn.map(lambda part, at=place: part[at : at + 1]))
        torch.testing.assert_close(alone, together[place : place + 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["objects", "small_objects"])
def test_probabilities_and_amounts_are_those_of_the_paper(name: str) -> None:
    drawn = sample_view_transforms(VIEW_POLICIES[name], 1.0, MANY, _generator(1))
    s = {"objects": 1.0, "small_objects": 0.5}[name]
    jittered = drawn.brightness != 1
    _share(jittered, 0.8)
    assert torch.equal(jittered, drawn.hue != 0), "all four amounts or none"
    for part in drawn[1:4]:
        assert torch.equal(jittered, part != 1)
        low, high = part.min().item(), part.max().item()
        assert 1 - 0.8 * s <= low < 1 - 0.79 * s
        assert 1 + 0.79 * s < high <= 1 + 0.8 * s
        assert part[jittered].mean().item() == pytest.approx(1, abs=0.02)
    assert 0.199 * s < drawn.hue.abs().max() <= 0.2 * s
    assert drawn.hue.mean().abs() < 0.005
    _share(drawn.grey, 0.2)
    _share(drawn.sigma > 0, {"objects": 0.5, "small_objects": 0.0}[name])
    if name == "objects":
        chosen = drawn.sigma[drawn.sigma > 0]
        assert 0.1 <= chosen.min() < 0.11
        assert 1.99 < chosen.max() <= 2
    determinants = torch.linalg.det(drawn.matrices[:, :, :2])
    _share(determinants < 0, 0.5)
    assert 0.08 <= determinants.abs().min() < 0.09


def test_amounts_of_different_kinds_are_drawn_apart() -> None:
    drawn = sample_view_transforms(VIEW_POLICIES["objects"], 1.0, MANY, _generator(1))
    kept = drawn.map(lambda part: part[(drawn.brightness != 1) & (drawn.sigma > 0)])
    mirrored, place = kept.matrices[:, 0, 0].sign(), kept.matrices[:, 0, 2]
    parts = [*kept[1:5], kept.sigma, kept.grey.float(), mirrored, place, kept.matrices[:, 1, 2], kept.matrices[:, 1, 1]]
    related = torch.corrcoef(torch.stack(parts)) - torch.eye(len(parts))
    assert related.abs().max() < 0.05


def test_a_strong_jitter_never_turns_brightness_negative() -> None:
    drawn = sample_view_transforms(VIEW_POLICIES["objects"], 2.0, MANY, _generator(1))
    chosen = drawn.brightness[drawn.brightness != 1]
    assert 0 <= chosen.min() < 0.01
    assert 2.59 < chosen.max() <= 2.6
    assert chosen.mean().item() == pytest.approx(1.3, abs=0.03), "uniform over what is left of the range"
    assert sample_view_transforms(VIEW_POLICIES["objects"], 9.0, MANY, _generator(1)).hue.abs().max() <= 0.5


def test_characters_are_never_mirrored_nor_made_grey_nor_cropped_to_a_corner() -> None:
    drawn = sample_view_transforms(VIEW_POLICIES["characters"], 1.0, MANY, _generator())
    area = torch.linalg.det(drawn.matrices[:, :, :2])
    assert area.min() > 0.35
    assert not drawn.grey.any()
    assert not drawn.sigma.any()
    turned = torch.atan2(drawn.matrices[:, 1, 0], drawn.matrices[:, 0, 0])
    assert 0.1 < turned.abs().max() < 0.5
    assert (drawn.brightness != 1).any()


def test_crops_lie_inside_the_image() -> None:
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])
    for name in ("objects", "small_objects"):
        maps = sample_view_transforms(VIEW_POLICIES[name], 1.0, MANY, _generator()).matrices
        places = maps @ corners.T
        assert places.abs().max() <= 1 + 1e-5
        assert (places.abs().amax((1, 2)) > 0.99).any()


def test_a_bent_crop_is_cropped_first() -> None:
    """A place of the view goes to its place in the crop, and that to its place in the bent image."""
    policy = ViewPolicy(min_area=0.4, flips=True, affine=0.6)
    u = torch.rand(30, 19, generator=_generator(9))
    crop, bend = crop_matrices(u[:, :5], 0.4), affine_matrices((2 * u[:, 5:11] - 1) * 0.6)
    maps = sample_view_transforms(policy, 1.0, 30, _generator(9)).matrices
    for point in ([0.0, 0.0], [1.0, -0.5], [-0.3, 0.8]):
        inside = (crop[:, :, :2] @ torch.tensor(point)) + crop[:, :, 2]
        expected = (bend[:, :, :2] @ inside[:, :, None]).squeeze(2) + bend[:, :, 2]
        found = (maps[:, :, :2] @ torch.tensor(point)) + maps[:, :, 2]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_view_fills_the_middle_that_the_network_reads() -> None:
    policy = VIEW_POLICIES["objects"]
    whole, middle = (sample_view_transforms(policy, 1.0, 30, _generator(9), f).matrices for f in (1.0, 0.8))
    torch.testing.assert_close(whole[:, :, :2], middle[:, :, :2] * 0.8)
    torch.testing.assert_close(whole[:, :, 2], middle[:, :, 2])


def test_the_policy_is_guessed_from_channels_and_size() -> None:
    for shape, name in (
        ((1, 28, 28), "characters"),
        ((1, 224, 224), "characters"),
        ((3, 32, 32), "small_objects"),
        ((3, 64, 64), "small_objects"),
        ((3, 64, 65), "objects"),
        ((3, 224, 224), "objects"),
    ):
        assert view_policy("auto", shape) is VIEW_POLICIES[name]
    assert view_policy("objects", (1, 28, 28)) is VIEW_POLICIES["objects"]
    assert view_policy("auto", (3, 224, 224), characters=True) is VIEW_POLICIES["characters"]


def _colour(x: Tensor, work: Callable[[Tensor, float], Tensor], amounts: Tensor) -> Tensor:
    return torch.stack([255 * work(each / 255, float(a)) for each, a in zip(x, amounts, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_torchvisions_in_this_order(channels: int) -> None:
    x = _photographs(6, channels=channels)
    brightness = torch.tensor([0.2, 1.7, 1.0, 1.3, 0.6, 1.0])
    contrast = torch.tensor([1.5, 0.3, 1.0, 1.8, 1.0, 0.0])
    saturation = torch.tensor([0.0, 1.6, 1.0, 1.8, 0.4, 1.2])
    hue = torch.tensor([0.1, -0.2, 0.0, 0.5, -0.5, 0.05])
    expected = _colour(x, reference.adjust_brightness, brightness)
    expected = _colour(expected, reference.adjust_contrast, contrast)
    expected = _colour(expected, reference.adjust_saturation, saturation)
    expected = _colour(expected, reference.adjust_hue, hue)
    # torchvision's grey has 0.2989 for the share of red, which is 0.299.
    torch.testing.assert_close(jitter(x, brightness, contrast, saturation, hue), expected, rtol=0, atol=0.06)


@pytest.mark.parametrize("part", range(4))
def test_each_part_of_jitter_is_torchvisions(part: int) -> None:
    x = _photographs(5)
    amounts = torch.tensor([0.1, 0.4, 0.0, -0.3, -0.5]) if part == 3 else torch.tensor([0.2, 0.7, 1.0, 1.4, 1.8])
    whole = [torch.ones(5), torch.ones(5), torch.ones(5), torch.zeros(5)]
    whole[part] = amounts
    work = (
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    )[part]
    found = jitter(x, *whole)
    torch.testing.assert_close(found, _colour(x, work, amounts), rtol=0, atol=1e-3 if part in (0, 3) else 0.06)
    assert all(((a - b).abs().max() < 1e-9) == (m == (part != 3)) for a, b, m in zip(found, x, amounts, strict=True))


def test_hue_turns_full_circle_and_leaves_grey_alone() -> None:
    x = _photographs(4)
    third = torch.full((4,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(shift_hue(x, third), x.roll(1, 1), rtol=0, atol=1e-9)
    torch.testing.assert_close(shift_hue(shift_hue(shift_hue(x, third), third), third), x, rtol=0, atol=1e-9)
    grey = luma(x).expand(-1, 3, -1, -1)
    assert torch.equal(shift_hue(grey, third), grey)
    corners = 255 * torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]])
    assert torch.equal(shift_hue(corners[:, :, None, None], torch.zeros(6)), corners[:, :, None, None])


def test_grey_views_are_torchvisions_and_only_those_chosen() -> None:
    x = _photographs(4)
    chosen = torch.tensor([True, False, False, True])
    out = apply_view_transforms(x, _still(4)._replace(grey=chosen))
    expected = torch.where(chosen[:, None, None, None], reference.rgb_to_grayscale(x, 3), x)
    torch.testing.assert_close(out, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(("size", "kernel"), [(24, 3), (47, 5), (224, 23)])
def test_blur_is_torchvisions_with_each_images_own_width(size: int, kernel: int) -> None:
    x = _photographs(4, size) + torch.randn(4, 3, size, size, generator=_generator(1))
    sigma = torch.tensor([0.1, 0.0, 0.7, 2.0])
    out = blur(x, sigma)
    assert torch.equal(out[1], x[1])
    for place in (0, 2, 3):
        expected = reference.gaussian_blur(x[place : place + 1], [kernel, kernel], [sigma[place].item()] * 2)
        torch.testing.assert_close(out[place : place + 1], expected, rtol=0, atol=1e-4)
    assert blur(x, torch.zeros(4)) is x


def _numbered(count: int = 23, size: int = 8) -> Examples:
    """Images of one value each, its number, which no crop changes."""
    x = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(size, 2).repeat(size, 3)
    return Examples(Split(x, np.zeros(count, np.int64), np.arange(count)), CPU)


def _batches(
    examples: Examples, size: int = 10, name: Views = "characters", strength: float = 0.0, rank: int = 0, world: int = 1
) -> ViewBatches:
    ctx = Context(random_root="views-test", device=CPU, group=ProcessGroup(rank, world))
    return ViewBatches(examples, size, name, strength, ctx, "pretrain")


def _numbers(batch: ViewBatch) -> list[list[int]]:
    means = batch.x.mean((1, 2, 3))
    torch.testing.assert_close(batch.x, means[:, None, None, None].expand_as(batch.x), rtol=0, atol=1e-4)
    return means.round().int().view(2, -1).tolist()


def test_an_epoch_has_two_views_of_every_image_once_in_a_fresh_order() -> None:
    batches = _batches(_numbered())
    epochs = []
    for epoch in (0, 1):
        found = [_numbers(batch) for batch in batches.epoch(epoch)]
        assert [batch.size for batch in batches.epoch(epoch)] == [8, 8, 7]
        assert len(found) == batches.count
        assert all(first == second for first, second in found)
        epochs.append([number for first, _ in found for number in first])
        assert sorted(epochs[-1]) == list(range(23))
    assert epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])


def test_the_two_views_of_an_image_are_drawn_apart() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    (batch,) = _batches(Examples(Split(x, np.zeros(6, np.int64), np.arange(6)), CPU), strength=1.0).epoch(0)
    first, second = batch.x.chunk(2)
    assert ((first - second).abs().amax((1, 2, 3)) > 10).all()


def test_shards_of_processes_are_the_pieces_of_the_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (23, 3, 16, 16), dtype=np.uint8)
    examples = Examples(Split(x, np.zeros(23, np.int64), np.arange(23)), CPU)
    settings = {"name": "objects", "strength": 1.0}
    whole = list(_batches(examples, **settings).epoch(2))
    parts = [list(_batches(examples, rank=rank, world=3, **settings).epoch(2)) for rank in range(3)]
    for place, batch in enumerate(whole):
        pieces = [part[place] for part in parts]
        assert {piece.size for piece in pieces} == {batch.size}
        halves = [torch.cat([piece.x.chunk(2)[half] for piece in pieces]) for half in range(2)]
        torch.testing.assert_close(torch.cat(halves), batch.x, rtol=1e-4, atol=1e-3)


def test_batches_follow_the_policy_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[ViewPolicy, float]] = []

    def note(policy: ViewPolicy, strength: float, count: int, *_: object) -> ViewTransforms:
        seen.append((policy, strength))
        return _still(count)

    monkeypatch.setattr(views, "sample_view_transforms", note)
    list(_batches(_numbered(), name="small_objects", strength=0.3).epoch(0))
    list(_batches(_numbered(), name="auto", strength=0.7).epoch(0))
    assert set(seen) == {(VIEW_POLICIES["small_objects"], 0.3), (VIEW_POLICIES["characters"], 0.7)}
