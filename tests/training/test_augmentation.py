"""Moves of training images against moves made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference

from tlbench.training.augmentation.nature import natural_moves
from tlbench.training.augmentation.placement import apply_transforms, crop_matrices, sample_transforms


def test_images_move_as_told_and_repeat_their_edge() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    x = image.expand(4, 2, 3, 4)
    moves = torch.tensor([[0, 0, 0], [1, 0, 0], [0, -2, 0], [0, 0, 1]])
    out = apply_transforms(x, moves)
    assert out.dtype == torch.uint8
    assert out.shape == x.shape
    assert torch.equal(out[0, 1], image[0, 0])
    assert torch.equal(out[1, 0], image[0, 0][[0, 0, 1]])
    assert torch.equal(out[2, 0], image[0, 0][:, [2, 3, 3, 3]])
    assert torch.equal(out[3, 1], image[0, 0].flip(1))


def test_a_mirrored_image_is_mirrored_before_it_is_shifted() -> None:
    x = torch.arange(4, dtype=torch.uint8).view(1, 1, 1, 4)
    assert apply_transforms(x, torch.tensor([[0, 1, 1]])).flatten().tolist() == [3, 3, 2, 1]


def test_draws_reach_both_ways_and_come_from_the_generator_alone() -> None:
    first = sample_transforms("shift_flip", 500, (1, 16, 24), torch.Generator().manual_seed(3))
    torch.rand(7)
    second = sample_transforms("shift_flip", 500, (1, 16, 24), torch.Generator().manual_seed(3))
    assert torch.equal(first, second)
    assert sorted(first[:, 0].unique().tolist()) == [-2, -1, 0, 1, 2]
    assert sorted(first[:, 1].unique().tolist()) == [-3, -2, -1, 0, 1, 2, 3]
    assert first[:, 2].unique().tolist() == [0, 1]
    assert sample_transforms("shift", 50, (1, 16, 24), torch.Generator().manual_seed(3))[:, 2].sum() == 0


def test_none_moves_nothing_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert sample_transforms("none", 5, (1, 16, 16), generator).abs().sum() == 0
    assert torch.equal(generator.get_state(), before)


def test_an_affine_map_takes_each_place_from_where_it_says() -> None:
    """The identity changes nothing; a quarter turn, a mirror and a half-size crop are what they are by hand."""
    x = torch.arange(16, dtype=torch.float64).view(1, 1, 4, 4)
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    mirror = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
    torch.testing.assert_close(apply_transforms(x, identity), x)
    torch.testing.assert_close(apply_transforms(x, mirror), x.flip(3))
    torch.testing.assert_close(apply_transforms(x, quarter), x.rot90(1, (2, 3)))
    middle = apply_transforms(x, torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]]))
    assert middle.mean() == x[:, :, 1:3, 1:3].mean()
    assert x[0, 0, 1, 1] - 2 < middle.min() < middle.max() < x[0, 0, 2, 2] + 2


def test_affine_moves_keep_within_their_bounds_and_reach_them() -> None:
    maps = sample_transforms("affine", 4000, (1, 16, 16), torch.Generator().manual_seed(0))
    assert maps.shape == (4000, 2, 3)
    assert 0.24 < maps[:, :, 2].abs().max() <= 0.25
    area = torch.linalg.det(maps[:, :, :2].double())
    assert 0.8**2 * (1 - 0.3**2) <= area.min() < 0.65
    assert 1.44 < area.max() <= 1.2**2 * (1 + 0.3**2)


def test_crops_lie_inside_the_image_and_have_the_sizes_they_should() -> None:
    maps = sample_transforms("crop_flip", 4000, (3, 16, 16), torch.Generator().manual_seed(0))
    width, height = maps[:, 0, 0].abs(), maps[:, 1, 1]
    assert (maps[:, 0, 2].abs() + width).max() <= 1 + 1e-6
    assert (maps[:, 1, 2].abs() + height).max() <= 1 + 1e-6
    assert 0.08 <= (width * height).min() < 0.1
    assert 0.95 < (width * height).max() <= 1
    assert 0.45 < (maps[:, 0, 0] < 0).double().mean() < 0.55
    inside = (width < 1) & (height < 1)
    assert ((width / height)[inside] >= 3 / 4 - 1e-5).all()
    assert ((width / height)[inside] <= 4 / 3 + 1e-5).all()


def test_a_crop_fills_the_middle_that_the_network_reads() -> None:
    """A place of the middle shows what the same place of a whole image would, mirrored or not."""
    numbers = torch.rand(40, 5, generator=torch.Generator().manual_seed(0))
    whole, middle = crop_matrices(numbers, 0.3), crop_matrices(numbers, 0.3, crop_fraction=0.875)
    for place in ([0.0, 0.0], [1.0, -1.0], [-0.3, 0.8]):
        shown = middle @ torch.tensor([*(0.875 * each for each in place), 1.0])
        torch.testing.assert_close(shown, whole @ torch.tensor([*place, 1.0]))
    x = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    all_of_it = crop_matrices(torch.full((3, 5), 0.5), 1.0, crop_fraction=0.5)
    shown = apply_transforms(x, all_of_it)[:, :, 4:12, 4:12]
    torch.testing.assert_close(shown, torch.nn.functional.avg_pool2d(x, 2))
    drawn = [sample_transforms("crop_flip", 9, (1, 8, 8), torch.Generator().manual_seed(2), 0.5, f) for f in (1, 0.5)]
    torch.testing.assert_close(drawn[0][:, :, :2], drawn[1][:, :, :2] / 2)


def test_a_batch_of_crops_is_torchvisions_one_by_one() -> None:
    """Cut out at whole pixels and resized, then flipped, in one call for all images."""
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    top, left, height, width = 4, 2, 8, 12
    scale = torch.tensor([[width / 16, 0, (2 * left + width) / 16 - 1], [0, height / 16, (2 * top + height) / 16 - 1]])
    flipped = scale * torch.tensor([[-1.0, 1, 1], [1, 1, 1]])
    out = apply_transforms(x, torch.stack([scale, flipped]))
    expected = reference.resized_crop(x, top, left, height, width, [16, 16], antialias=False)
    inner = slice(2, -2)  # at its edges a cut-out knows nothing of the pixels beyond, which the batched form reads
    torch.testing.assert_close(out[0, :, inner, inner], expected[0, :, inner, inner], rtol=0, atol=1e-3)
    torch.testing.assert_close(
        out[1, :, inner, inner], reference.horizontal_flip(expected[1])[:, inner, inner], rtol=0, atol=1e-3
    )


COLOURED = np.random.default_rng(0).integers(0, 255, (3, 3, 96, 96), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "characters", "expected"),
    [
        ([COLOURED, COLOURED], False, "crop_flip"),
        ([COLOURED[..., :32, :32]], False, "shift_flip"),
        ([COLOURED[:, :1], COLOURED[:, :1]], False, "shift"),
        ([COLOURED[:, :1].repeat(3, 1)], False, "shift"),
        ([COLOURED, COLOURED[:, :1].repeat(3, 1)], False, "crop_flip"),
        ([COLOURED], True, "shift"),
    ],
    ids=["photographs", "small", "grey", "grey in three channels", "photographs and sketches", "digits"],
)
def test_what_is_usual_for_the_kind_of_images(images: list[Any], characters: bool, expected: str) -> None:
    assert natural_moves(images, characters) == expected
