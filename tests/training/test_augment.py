"""Moves of training images against moves made by hand."""

from __future__ import annotations

import torch

from tlbench.training.augment import draw_moves, move


def test_images_move_as_told_and_repeat_their_edge() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    x = image.expand(4, 2, 3, 4)
    moves = torch.tensor([[0, 0, 0], [1, 0, 0], [0, -2, 0], [0, 0, 1]])
    out = move(x, moves)
    assert out.dtype == torch.uint8
    assert out.shape == x.shape
    assert torch.equal(out[0, 1], image[0, 0])
    assert torch.equal(out[1, 0], image[0, 0][[0, 0, 1]])
    assert torch.equal(out[2, 0], image[0, 0][:, [2, 3, 3, 3]])
    assert torch.equal(out[3, 1], image[0, 0].flip(1))


def test_a_mirrored_image_is_mirrored_before_it_is_shifted() -> None:
    x = torch.arange(4, dtype=torch.uint8).view(1, 1, 1, 4)
    assert move(x, torch.tensor([[0, 1, 1]])).flatten().tolist() == [3, 3, 2, 1]


def test_draws_reach_both_ways_and_come_from_the_generator_alone() -> None:
    first = draw_moves("shift_flip", 500, (1, 16, 24), torch.Generator().manual_seed(3))
    torch.rand(7)
    second = draw_moves("shift_flip", 500, (1, 16, 24), torch.Generator().manual_seed(3))
    assert torch.equal(first, second)
    assert sorted(first[:, 0].unique().tolist()) == [-2, -1, 0, 1, 2]
    assert sorted(first[:, 1].unique().tolist()) == [-3, -2, -1, 0, 1, 2, 3]
    assert first[:, 2].unique().tolist() == [0, 1]
    assert draw_moves("shift", 50, (1, 16, 24), torch.Generator().manual_seed(3))[:, 2].sum() == 0


def test_none_moves_nothing_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert draw_moves("none", 5, (1, 16, 16), generator).abs().sum() == 0
    assert torch.equal(generator.get_state(), before)
