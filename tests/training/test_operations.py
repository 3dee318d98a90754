"""RandAugment's operations on batches, each against torchvision's on single images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from torch import Tensor
from torchvision.transforms import InterpolationMode

from tlbench.training.augmentation.operations import (
    LARGEST,
    OPERATIONS,
    Operations,
    apply_operations,
    sample_operations,
)

NAMES = tuple(OPERATIONS)
SIZE = (24, 32)
AMOUNTS = (-1.0, -0.3, 0.3, 0.5, 1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(count: int, channels: int = 3) -> Tensor:
    """Smooth random images with dark and bright places, of whole numbers."""
    coarse = torch.rand(count, channels, 5, 5, generator=generator(5))
    smooth = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear", align_corners=False)
    return (20 + 200 * smooth).round()


def moved(x: Tensor, right: float = 0, down: float = 0, shear: tuple[float, float] = (0, 0)) -> Tensor:
    return reference.affine(x, 0, [right, down], 1.0, list(shear), InterpolationMode.BILINEAR)


def degrees(slope: float) -> float:
    return float(torch.tensor(slope).atan().rad2deg())


BY_TORCHVISION: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda x, amount: x,
    "autocontrast": lambda x, amount: reference.autocontrast(x.byte()),
    "equalize": lambda x, amount: reference.equalize(x.byte()),
    "rotate": lambda x, amount: reference.rotate(x, 30 * amount, InterpolationMode.BILINEAR),
    "solarize": lambda x, amount: reference.solarize(x.byte(), 255 * (1 - abs(amount))),
    "colour": lambda x, amount: reference.adjust_saturation(x.byte(), 1 + 0.9 * amount),
    "posterize": lambda x, amount: reference.posterize(x.byte(), 8 - round(4 * abs(amount))),
    "contrast": lambda x, amount: reference.adjust_contrast(x.byte(), 1 + 0.9 * amount),
    "brightness": lambda x, amount: reference.adjust_brightness(x.byte(), 1 + 0.9 * amount),
    "sharpness": lambda x, amount: reference.adjust_sharpness(x.byte(), 1 + 0.9 * amount),
    "shear_x": lambda x, amount: moved(x, shear=(degrees(0.3 * amount), 0)),
    "shear_y": lambda x, amount: moved(x, shear=(0, degrees(0.3 * amount))),
    "translate_x": lambda x, amount: moved(x, right=150 / 331 * amount * SIZE[1]),
    "translate_y": lambda x, amount: moved(x, down=150 / 331 * amount * SIZE[0]),
}
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_operation_is_torchvisions_image_by_image(name: str, channels: int) -> None:
    if (name, channels) == ("colour", 1):
        x = photographs(len(AMOUNTS), 1)
        assert torch.equal(apply_operations(x, everywhere(name)), x), "grey images have no colour"
        return
    x = photographs(len(AMOUNTS), channels)
    out = apply_operations(x, everywhere(name))
    for image, changed, amount in zip(x, out, AMOUNTS, strict=True):
        expected = BY_TORCHVISION[name](image, amount).float()
        read = torch.ones(SIZE, dtype=torch.bool)
        if name in MOVES:  # where all pixels that are read lie inside of the image; beyond, torchvision's is black
            read = BY_TORCHVISION[name](torch.ones(1, *SIZE), amount)[0] > 1 - 1e-4
        assert read.float().mean() > 0.4
        difference = (changed - expected).abs()[:, read]
        assert difference.max() <= (1e-2 if name in MOVES else 2.0), amount  # theirs drops what follows the point
        if name not in ("identity", "posterize"):
            assert (changed - image).abs().max() > 2, "it does something"


def everywhere(name: str) -> Operations:
    kinds = torch.full((len(AMOUNTS), 1), NAMES.index(name))
    return Operations(kinds, torch.tensor(AMOUNTS)[:, None])


def test_pixels_from_outside_repeat_the_edge() -> None:
    x = photographs(1)
    right = apply_operations(x, Operations(torch.tensor([[NAMES.index("translate_x")]]), torch.tensor([[0.5]])))
    for column in (0, 3):
        torch.testing.assert_close(right[..., column], x[..., 0], rtol=0, atol=1e-3)


def test_a_batch_is_its_images_one_by_one_in_the_order_of_the_operations() -> None:
    x = photographs(60)
    drawn = sample_operations(60, 3, 20.0, generator())
    whole = apply_operations(x, drawn)
    for row in range(60):
        alone = x[row : row + 1]
        for place in range(3):
            kinds, amounts = (part[row : row + 1, place : place + 1] for part in drawn)
            alone = apply_operations(alone, Operations(kinds, amounts))
        torch.testing.assert_close(whole[row : row + 1], alone, rtol=0, atol=1e-3)


def test_given_images_stay_as_they_were() -> None:
    for x in (photographs(40), photographs(40).byte()):
        before = x.clone()
        out = apply_operations(x, sample_operations(40, 2, 9.0, generator()))
        assert torch.equal(x, before)
        assert out.dtype == torch.float32
        assert 0 <= out.min() < out.max() <= 255


def test_draws_are_uniform_signed_of_one_magnitude_and_the_generators_alone() -> None:
    drawn = sample_operations(14_000, 2, 9.0, generator(3))
    counts = torch.bincount(drawn.kinds.flatten(), minlength=14)
    assert len(counts) == len(OPERATIONS) == 14
    assert (counts - 2000).abs().max() < 5 * (2000 * 13 / 14) ** 0.5
    assert drawn.amounts.abs().unique().tolist() == [pytest.approx(9 / LARGEST)]
    assert abs((drawn.amounts > 0).float().mean() - 0.5) < 0.02
    torch.rand(7)
    again = sample_operations(14_000, 2, 9.0, generator(3))
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert not torch.equal(drawn.kinds, sample_operations(14_000, 2, 9.0, generator(4)).kinds)
    assert not sample_operations(5, 2, 0.0, generator()).amounts.any()


def test_none_of_them_mirrors() -> None:
    """A character stays nearer to itself than to its mirror image, whatever is done to it."""
    letter = torch.full((1, 1, 24, 24), 60.0)
    letter[..., 4:20, 4:8] = 180
    letter[..., 16:20, 4:18] = 180
    count = 500
    out = apply_operations(letter.expand(count, -1, -1, -1), sample_operations(count, 1, 9.0, generator()))

    def likeness(other: Tensor) -> Tensor:
        flat = [part.flatten(1) - part.flatten(1).mean(1, keepdim=True) for part in (out, other.expand_as(out))]
        return torch.nn.functional.cosine_similarity(*flat).abs()

    assert (likeness(letter) > likeness(letter.flip(3))).all()
