"""Batches by length: every text once, little padding, a fresh and reproducible composition in every epoch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tlbench.training.length_buckets import length_buckets

SIZE = 16


def _lengths(count: int) -> Tensor:
    """Lengths that spread as those of documentation do: many short ones, few long ones."""
    drawn = torch.empty(count).exponential_(1 / 40, generator=torch.Generator().manual_seed(0))
    return drawn.clamp(4, 128).long()


def _draw(lengths: Tensor, seed: int = 0) -> list[Tensor]:
    return length_buckets(lengths, SIZE, torch.Generator().manual_seed(seed))


def _padded(lengths: Tensor, batches: list[Tensor]) -> int:
    return sum(len(rows) * int(lengths[rows].max()) for rows in batches)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 33, 1000, 16 * 32 + 1])
def test_every_text_comes_once_in_batches_of_nearly_equal_size(count: int) -> None:
    batches = _draw(_lengths(count))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    sizes = [len(rows) for rows in batches]
    assert len(batches) == -(-count // SIZE)
    assert max(sizes) <= SIZE
    assert max(sizes) - min(sizes) <= 1


def test_little_is_padding() -> None:
    lengths = _lengths(2000)
    shuffled = torch.randperm(2000, generator=torch.Generator().manual_seed(1)).split(SIZE)
    real = int(lengths.sum())
    assert _padded(lengths, list(shuffled)) > 2.2 * real
    assert _padded(lengths, _draw(lengths)) < 1.12 * real


def test_order_and_neighbours_are_reproducible_and_new_in_every_epoch() -> None:
    lengths = _lengths(2000)
    first, again, other = _draw(lengths), _draw(lengths), _draw(lengths, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    together = {(int(a), int(b)) for rows in first for a in rows for b in rows if a < b}
    later = {(int(a), int(b)) for rows in other for a in rows for b in rows if a < b}
    assert len(together & later) < 0.2 * len(together), "another epoch has other neighbours"


def test_the_order_of_batches_tells_nothing_of_their_length() -> None:
    lengths = _lengths(2000)
    widths = torch.stack([lengths[rows].double().mean() for rows in _draw(lengths)])
    at = torch.arange(len(widths)).double()
    assert torch.corrcoef(torch.stack([widths, at]))[0, 1].abs() < 0.3
    assert torch.corrcoef(torch.stack([widths[1:], widths[:-1]]))[0, 1].abs() < 0.3


def test_texts_of_one_length_are_shuffled() -> None:
    first, other = _draw(torch.full((64,), 9)), _draw(torch.full((64,), 9), 1)
    assert not torch.equal(first[0], other[0])
    assert sorted(first[0].tolist()) != sorted(other[0].tolist())
