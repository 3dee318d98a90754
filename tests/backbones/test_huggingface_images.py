"""Image encoders of Hugging Face, against the library itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.image_recipe import framing
from tlbench.core.errors import UserError
from tlbench.data.framing import Framing
from tlbench.testing.backbone_contract import check_backbone

transformers = pytest.importorskip("transformers")

from small_image_encoders import CLIP_MEAN, KINDS, save  # noqa: E402 - it needs transformers

RANDOM, HF = {"kind": "random"}, {"kind": "hf", "name": "DEFAULT"}
BLOCKS = {"vit": 2, "dinov2": 2, "clip": 2, "siglip": 2, "convnext": 5}
READ = {
    "vit": Framing(32, 32, "bilinear", "squash"),
    "dinov2": Framing(32, 36, "bicubic"),
    "clip": Framing(32, 32, "bicubic"),
    "siglip": Framing(32, 32, "bicubic", "squash"),
    "convnext": Framing(32, 36, "bicubic"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: save(kind, folder / f"small-{kind}") for kind in KINDS}


def photo(height: int, width: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    x = 127 + 80 * np.stack([np.sin(rows / a) * np.cos(columns / 5) for a in (3, 5, 7)], -1)
    return Image.fromarray(x.clip(0, 255).astype(np.uint8))


def built(folder: Path, weights: dict[str, Any] = HF, **params: Any) -> Backbone:
    return build(describe(f"hf:{folder}", params, weights), 0, None)


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract(kind: str, saved: dict[str, Path], tmp_path: Path) -> None:
    for weights in (RANDOM, HF):
        folder = tmp_path / weights["kind"]
        folder.mkdir()
        backbone = check_backbone(f"hf:{saved[kind]}", {}, folder, weights)
        assert len(backbone.blocks) == BLOCKS[kind]
        assert len(backbone.sublayers) == (0 if kind == "convnext" else BLOCKS[kind])
        assert backbone.info.modality == "image"
        assert str(saved[kind].parent) not in str(backbone.info.recipe)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(48, 48), (40, 60)])
def test_features_are_what_the_library_pools_of_what_its_processor_makes(
    kind: str, shape: tuple[int, int], saved: dict[str, Path]
) -> None:
    """Up to a shade in some hundreds, as the two scale images."""
    backbone = built(saved[kind]).eval()
    assert framing(backbone.info.recipe) == READ[kind]
    assert backbone.info.made_for == 32
    image = photo(*shape)
    pixels = transformers.AutoImageProcessor.from_pretrained(saved[kind])(image, return_tensors="pt")["pixel_values"]
    prepared = backbone.prepare(torch.from_numpy(np.array(image).transpose(2, 0, 1))[None])
    deviation = torch.tensor(backbone.info.recipe["std"]).view(3, 1, 1)
    assert ((prepared - pixels) * deviation * 255).abs().max() < 2.5
    library = transformers.AutoModel.from_pretrained(saved[kind]).eval()
    with torch.no_grad():
        if kind == "vit":
            expected = library(pixel_values=prepared).last_hidden_state[:, 0]
        elif kind in ("clip", "siglip"):
            expected = library.vision_model(pixel_values=prepared).pooler_output
        else:
            expected = library(pixel_values=prepared).pooler_output
        torch.testing.assert_close(backbone.body(prepared), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str, saved: dict[str, Path]) -> None:
    backbone = built(saved[kind])
    backbone(torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    groups = backbone.group_parameters()
    assert any(parameter.ndim == 4 for parameter in groups[0]), "the stem holds the patches' convolution"
    assert len(backbone.fine_groups()) >= BLOCKS[kind]


def test_positions_are_interpolated_to_another_size(saved: dict[str, Path]) -> None:
    for kind in ("vit", "dinov2", "clip", "siglip"):
        backbone = built(saved[kind], image_size=48).eval()
        assert backbone.info.label.startswith(f"hf:small-{kind}(image_size=48)/hf:")
        assert backbone(torch.zeros(1, 3, 60, 50, dtype=torch.uint8)).shape == (1, 32)


def test_random_weights_read_as_given_ones_do(saved: dict[str, Path]) -> None:
    given, fresh = (describe(f"hf:{saved['clip']}", {}, weights).recipe for weights in (HF, RANDOM))
    assert given | {"weights": RANDOM} == fresh
    assert given["mean"] == pytest.approx(CLIP_MEAN)


def test_without_a_processor_images_are_squashed_to_the_networks_size(tmp_path: Path) -> None:
    folder = save("vit", tmp_path / "bare")
    (folder / "preprocessor_config.json").unlink()
    recipe = describe(f"hf:{folder}", {}, HF).recipe
    assert (framing(recipe), recipe["mean"]) == (Framing(32, 32, "bilinear", "squash"), [0.5] * 3)


def test_mistakes_are_named(saved: dict[str, Path]) -> None:
    name = f"hf:{saved['vit']}"
    for params, message in (
        ({"channels": 1}, "'channels' must be 3"),
        ({"max_length": 8}, "'max_length'"),
        ({"image_size": 8, "crop": 2.0}, "'crop'"),
    ):
        with pytest.raises(UserError, match=message):
            describe(name, params, HF)
