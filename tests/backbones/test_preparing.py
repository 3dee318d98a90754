"""How raw images become network input, in closed form."""

from __future__ import annotations

import pytest
import torch

from tlbench.backbones.backbone import ImageInput, Prepare, image_input
from tlbench.backbones.catalog import describe
from tlbench.data.framing import Framing

EIGHT = Framing(8, 8)
HALF = ImageInput(EIGHT, 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GREY = ImageInput(EIGHT, 1, (0.5,), (0.5,))


def constant(*values: int, size: int = 8) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).view(1, -1, 1, 1).expand(2, -1, size, size)


@pytest.mark.parametrize("size", [4, 8, 13, 100])
def test_a_constant_image_stays_constant_at_any_size(size: int) -> None:
    out = Prepare(HALF)(constant(0, 255, 51, size=size))
    assert out.shape == (2, 3, 8, 8)
    assert out.dtype == torch.float32
    expected = torch.tensor([-1.0, 1.0, -0.6]).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    torch.testing.assert_close(out, expected)


def test_grey_images_are_repeated() -> None:
    out = Prepare(ImageInput(EIGHT, 3, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)))(constant(102))
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([-0.2, 0.6, 0.4]))


def test_colour_becomes_luma() -> None:
    weights = {0: 0.299, 1: 0.587, 2: 0.114}
    for channel, weight in weights.items():
        pure = constant(*(255 if place == channel else 0 for place in range(3)))
        torch.testing.assert_close(Prepare(GREY)(pure), torch.full((2, 1, 8, 8), 2 * weight - 1))
    assert sum(weights.values()) == pytest.approx(1)


def test_images_of_the_right_size_pass_unblurred() -> None:
    x = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.testing.assert_close(Prepare(HALF)(x), x / 127.5 - 1)
    assert torch.equal(Prepare(HALF)(x.float()), Prepare(HALF)(x))


def test_shrinking_averages_rather_than_skips() -> None:
    """Fine stripes become grey; without antialiasing every second line would win."""
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    out = Prepare(GREY)(stripes)[:, :, 2:-2]
    assert out.abs().max() < 0.05


def test_it_holds_no_parameters_and_saves_nothing() -> None:
    prepare = Prepare(HALF)
    assert not list(prepare.parameters())
    assert not prepare.state_dict()


def test_the_recipe_decides() -> None:
    info = describe("resnet18", {"channels": 1}, {"kind": "torchvision", "name": "DEFAULT"})
    spec = image_input(info)
    assert spec == ImageInput(Framing(224, 256), 1, (0.449,), (0.226,))
