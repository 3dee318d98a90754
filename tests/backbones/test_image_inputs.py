"""What networks are made to read, against the libraries' own evaluation, and files of weights that say it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from real_inputs import real_data, real_weights
from torch import Tensor

from tlbench.backbones.backbone import Prepare, image_input
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.image_recipe import framing, input_text
from tlbench.backbones.weights import save_weights
from tlbench.backbones.weights_contents import read_contents
from tlbench.core.info import BackboneInfo
from tlbench.data.framing import Framing, start_of_middle

timm = pytest.importorskip("timm")

RANDOM = {"kind": "random"}
FILE = {"kind": "file", "sha256": "0" * 64}
SHAPES = [(160, 160), (160, 213), (227, 150), (61, 64), (32, 32), (300, 301), (500, 375)]
# One of each way that timm's evaluations read images: other sizes, kernels, crops and fits.
TIMM = (
    "tf_efficientnet_lite0",
    "vit_small_patch14_dinov2",
    "vit_base_patch16_clip_224.openai",
    "vit_base_patch16_siglip_224",
    "eva02_base_patch14_448",
    "convnext_atto",
    "resnet18.a1_in1k",
    "resnet50.tv_in1k",
    "mobilenetv3_small_100",
)


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """A picture of waves, edges and noise (height, width, 3)."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / a) * np.cos(columns / b) for a, b in ((7, 11), (3, 19), (23, 5))]
    x = 127 + 90 * np.stack(waves, -1) + np.random.default_rng(0).normal(0, 12, (height, width, 3))
    x[height // 3 : height // 2, width // 4 : width // 2] = 255
    return x.clip(0, 255).astype(np.uint8)


def ours(info: BackboneInfo, x: NDArray[np.uint8]) -> Tensor:
    return Prepare(image_input(info))(torch.from_numpy(x.transpose(2, 0, 1).copy())[None])[0]


def shades_apart(info: BackboneInfo, found: Tensor, expected: Tensor) -> Tensor:
    """Return how many of 255 shades each value differs by."""
    assert found.shape == expected.shape
    return ((found - expected) * torch.tensor(info.recipe["std"]).view(-1, 1, 1) * 255).abs()


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_read_as_timms_evaluation_reads_them(name: str, shape: tuple[int, int]) -> None:
    own, _, tag = name.partition(".")
    info = describe(f"timm:{own}", {}, {"kind": "timm", "name": tag or "DEFAULT"})
    cfg = timm.get_pretrained_cfg(f"{own}.{info.recipe['weights']['name']}").to_dict()
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=cfg))
    x = photo(*shape)
    apart = shades_apart(info, ours(info, x), transform(Image.fromarray(x)))
    assert (apart > 2.5).float().mean() < 1e-4
    # Bilinear scaling keeps fractions of shades; and where one side grows and the other shrinks, as squashing does,
    # versions of Pillow differ in which of them they scale first.
    exact = cfg["interpolation"] == "bicubic" and cfg.get("crop_mode") != "squash"
    assert apart.mean() < (0.01 if exact else 0.5)
    assert info.made_for == cfg["input_size"][-1]


@pytest.mark.parametrize("size", [96, 160, 256])
def test_another_size_keeps_the_fraction_that_is_cut_out(size: int) -> None:
    for name in ("tf_efficientnet_lite0", "resnet18", "convnext_atto", "mobilenetv3_small_100"):
        info = describe(f"timm:{name}", {"image_size": size}, {"kind": "timm", "name": "DEFAULT"})
        cfg = timm.get_pretrained_cfg(name).to_dict() | {"input_size": (3, size, size)}
        transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=cfg))
        x = photo(200, 260)
        apart = shades_apart(info, ours(info, x), transform(Image.fromarray(x)))
        assert (apart > 2.5).float().mean() < 1e-4
        assert apart.mean() < (0.01 if cfg["interpolation"] == "bicubic" else 0.5)


@pytest.mark.parametrize(("name", "weights"), [("resnet50", "IMAGENET1K_V2"), ("efficientnet_b0", "IMAGENET1K_V1")])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_read_as_torchvisions_evaluation_reads_them(name: str, weights: str, shape: tuple[int, int]) -> None:
    info = describe(name, {}, {"kind": "torchvision", "name": weights})
    x = photo(*shape)
    expected = torchvision.models.get_weight(f"{_enum(name)}.{weights}").transforms()(Image.fromarray(x))
    apart = shades_apart(info, ours(info, x), expected)
    assert (apart > 2.5).float().mean() < 1e-4
    assert apart.mean() < (0.01 if "interpolation" in info.recipe else 0.5)


def _enum(name: str) -> str:
    return torchvision.models.get_model_weights(name).__name__


def test_squares_are_the_middle_of_the_scaled_image_unless_squashed_or_padded() -> None:
    assert Framing(224, 256).scaled(160, 200) == (256, 320)
    assert Framing(224, 256).scaled(200, 160) == (320, 256)
    assert Framing(224, 256, fit="squash").scaled(160, 200) == (256, 256)
    assert Framing(224, 224, fit="border").scaled(160, 320) == (112, 224)
    assert (Framing(224, 256).crop_fraction, Framing(224, 224).crop_fraction) == (0.875, 1.0)
    assert [start_of_middle(*pair) for pair in ((320, 224), (256, 224), (224, 224), (5, 2), (112, 224))] == [
        48,
        16,
        0,
        2,
        -56,
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_what_lies_beside_the_middle_is_not_seen(turned: bool) -> None:
    """Dark ends, bright middle: a crop is bright all over, a squashed image is not."""
    info = describe("conv4", {"image_size": 16}, RANDOM)
    x = torch.zeros(1, 1, 16, 48, dtype=torch.uint8)
    x[..., 16:32] = 255
    x = x.mT if turned else x
    assert torch.equal(Prepare(image_input(info))(x), torch.ones(1, 1, 16, 16))


def test_bordered_images_keep_all_and_are_padded_with_the_mean() -> None:
    recipe = describe("conv4", {"image_size": 16}, RANDOM).recipe | {"fit": "border"}
    out = Prepare(image_input(BackboneInfo("conv4", "conv4", "image", "", recipe)))(
        torch.full((1, 1, 8, 16), 255, dtype=torch.uint8)
    )
    assert torch.equal(out[0, 0, 4:12], torch.ones(8, 16))
    assert not out[0, 0, :4].any()
    assert not out[0, 0, 12:].any()


def test_self_made_networks_say_nothing_new() -> None:
    """Their recipes, and so the ids of their cells, are those of before."""
    assert describe("resnet18", {}, RANDOM).recipe == {
        "name": "resnet18",
        "family": "torchvision",
        "weights": RANDOM,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "image_size": 32,
        "channels": 3,
        "stem": "small",
    }
    assert set(describe("timm:resnet18", {}, RANDOM).recipe) == {
        *("name", "family", "weights", "mean", "std", "image_size", "channels", "stem")
    }
    assert describe("timm:resnet18", {}, RANDOM).recipe["image_size"] == 32
    assert describe("resnet18", {}, RANDOM).made_for == 0


def test_a_suite_may_say_otherwise() -> None:
    weights = {"kind": "torchvision", "name": "DEFAULT"}
    plain = describe("efficientnet_b0", {}, weights)
    assert framing(plain.recipe) == Framing(224, 256, "bicubic")
    other = describe("efficientnet_b0", {"interpolation": "bilinear", "crop": 1.0, "image_size": 96}, weights)
    assert framing(other.recipe) == Framing(96, 96, "bilinear")
    assert other.label == "efficientnet_b0(image_size=96, interpolation=bilinear, crop=1.0)/IMAGENET1K_V1"
    assert describe("efficientnet_b0", {"interpolation": "bicubic", "crop": 0.875}, weights) == plain
    assert (other.made_for, plain.made_for) == (224, 224)
    assert input_text(plain.recipe) == (
        "224 pixels, the middle of a shorter side of 256, bicubic; mean 0.485 0.456 0.406; "
        "deviation 0.229 0.224 0.225; standard stem"
    )


def of_file(name: str, file: Path, **params: Any) -> BackboneInfo:
    return describe(name, params, FILE, read_contents(file))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "regnet_y_400mf", "efficientnet_b0", "resnet18", "vit_b_32"])
def test_a_file_of_another_program_gets_what_its_network_was_made_for(name: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    state = torchvision.models.get_model(name).state_dict()
    state = {key: tensor for key, tensor in state.items() if tensor.numel() < 1e5 or "conv" in key}
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, file)
    else:
        from safetensors.torch import save_file

        save_file(state, file)
    info, published = of_file(name, file), describe(name, {}, {"kind": "torchvision", "name": "DEFAULT"})
    assert info.recipe == published.recipe | {"weights": FILE}
    assert info.label == f"{name}/file:00000000"
    assert info.made_for == published.made_for
    assert of_file(name, file, image_size=64).recipe["image_size"] == 64 if name != "vit_b_32" else True


def test_a_file_with_the_small_stem_is_known_by_its_first_convolution(tmp_path: Path) -> None:
    for name in ("resnet18", "densenet121", "squeezenet1_0", "convnext_tiny", "swin_t", "googlenet"):
        file = tmp_path / f"{name}.pth"
        torch.save(build(describe(name, {}, RANDOM), 0, None).body.state_dict(), file)
        assert of_file(name, file).recipe == describe(name, {}, RANDOM).recipe | {"weights": FILE}, name
        torch.save(build(describe(name, {"stem": "standard"}, RANDOM), 0, None).body.state_dict(), file)
        assert of_file(name, file).recipe["stem"] == "standard", name
        assert of_file(name, file).recipe["image_size"] == 224, name


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("mobilenet_v3_small", {}),
        ("mobilenet_v3_small", {"image_size": 48, "channels": 1}),
        ("resnet18", {"stem": "standard", "image_size": 64, "normalization": "imagenet"}),
        ("conv4", {"width": 8, "image_size": 32, "channels": 3}),
        ("timm:test_efficientnet", {}),
        ("timm:test_efficientnet", {"channels": 1, "image_size": 64, "crop": 0.8, "interpolation": "bicubic"}),
    ],
)
def test_a_file_of_this_package_says_how_its_network_reads(name: str, params: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    start = describe(name, params, RANDOM)
    save_weights(build(start, 0, None), file, notes=("said",))
    info = of_file(name, file)
    assert info.recipe == start.recipe | {"weights": FILE}
    build(info, 0, file)


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for file in (one, two):
        save_weights(build(describe("conv4", {}, RANDOM), 0, None), file, notes=("a", "b"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_a_file_for_timm_gets_what_timms_default_weights_were_made_for(name: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(timm.create_model(name).state_dict(), file)
    published = describe(f"timm:{name}", {}, {"kind": "timm", "name": "DEFAULT"})
    assert of_file(f"timm:{name}", file).recipe == published.recipe | {"weights": FILE}


PACS = "tf_efficientnet_lite0"


@pytest.mark.parametrize("cut", [None, (160, 110), (97, 160)])
@pytest.mark.parametrize("from_file", [False, True])
def test_features_of_photographs_are_those_of_timms_own_pipeline(cut: tuple[int, int] | None, from_file: bool) -> None:
    """With the real weights, from the hub and from their file, up to 1 % of a feature vector's length."""
    folder = real_weights(f"timm/{PACS}.in1k")
    photos = _photos(real_data("pacs/pacs160.zip"), cut)
    model = timm.create_model(PACS, pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    file = folder / "model.safetensors"
    info = (
        of_file(f"timm:{PACS}", file)
        if from_file
        else describe(f"timm:{PACS}", {}, {"kind": "timm", "name": "DEFAULT"})
    )
    backbone = build(info, 0, file if from_file else None).eval()
    with torch.no_grad():
        expected = model(torch.stack([transform(each) for each in photos]))
        found = backbone(torch.stack([torch.from_numpy(np.array(each).transpose(2, 0, 1)) for each in photos]))
    apart = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert apart.max() < 0.01


def _photos(archive: Path, cut: tuple[int, int] | None) -> list[Image.Image]:
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if name.endswith(".jpg")]
        photos = [Image.open(io.BytesIO(opened.read(name))).convert("RGB") for name in names[:: len(names) // 12]]
    return [each if cut is None else each.crop((0, 0, cut[1], cut[0])) for each in photos]
