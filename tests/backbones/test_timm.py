"""The family of timm's networks, against timm itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from tlbench.backbones import catalog
from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.weights import load_weights, read_weights, save_weights
from tlbench.core.errors import UserError

timm = pytest.importorskip("timm")

RANDOM = {"kind": "random"}
FILE = {"kind": "file", "sha256": "0" * 64}
PRETRAIN = {"kind": "pretrain", "method": "supervised", "dataset": "abc"}
# Options that keep a network cheap, then how many blocks and how many transformer blocks it has.
MEMBERS: dict[str, tuple[dict[str, Any], int, int]] = {
    "test_byobnet": ({}, 4, 0),
    "test_convnext": ({}, 9, 0),
    "test_convnext2": ({}, 4, 0),
    "test_efficientnet": ({}, 4, 0),
    "test_efficientnet_evos": ({}, 4, 0),
    "test_efficientnet_gn": ({}, 4, 0),
    "test_mambaout": ({}, 6, 0),
    "test_maxvit": ({}, 4, 8),
    "test_nfnet": ({}, 4, 0),
    "test_resnet": ({}, 4, 0),
    "test_vit": ({}, 6, 6),
    "test_vit3": ({}, 9, 9),
    "test_vit4": ({}, 9, 9),
    "test_vit_relpos": ({}, 9, 9),
    "resnet18": ({}, 8, 0),
    "resnetv2_18": ({}, 8, 0),
    "regnetx_002": ({}, 13, 0),
    "convnext_atto": ({}, 12, 0),
    "efficientnet_b0": ({}, 16, 0),
    "mobilenetv3_small_050": ({}, 11, 0),
    "densenet121": ({}, 4, 0),
    "vit_tiny_patch16_224": ({"image_size": 32}, 12, 12),
    "deit_tiny_distilled_patch16_224": ({"image_size": 32}, 12, 12),
    "swin_tiny_patch4_window7_224": ({"image_size": 32}, 12, 12),
    "mixer_s32_224": ({"image_size": 64}, 8, 0),
    "pit_ti_224": ({}, 12, 12),
    "eva02_tiny_patch14_224": ({"image_size": 28}, 12, 12),
    "vit_small_patch14_dinov2": ({"image_size": 28}, 12, 12),
    "vit_xsmall_patch16_clip_224": ({"image_size": 32}, 10, 10),
    "vit_base_patch16_siglip_224": ({"image_size": 32}, 12, 12),
}
# Networks of most of timm's source files, for what needs no values.
MORE = (
    "beit_base_patch16_224",
    "botnet26t_256",
    "cait_xxs24_224",
    "coat_lite_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "crossvit_9_240",
    "cs3darknet_s",
    "davit_tiny",
    "dla34",
    "dpn48b",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientnetv2_rw_t",
    "efficientvit_b0",
    "ese_vovnet19b_dw",
    "eva02_tiny_patch14_224",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "ghostnetv3_050",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "hrnet_w18_small",
    "inception_next_atto",
    "inception_v3",
    "inception_v4",
    "vgg11",
    "levit_128s",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nasnetalarge",
    "nf_resnet26",
    "poolformer_s12",
    "pvt_v2_b0",
    "regnety_002",
    "repvit_m0_9",
    "res2net50_14w_8s",
    "resmlp_12_224",
    "resnest14d",
    "rexnet_100",
    "selecsls42",
    "shvit_s1",
    "skresnet18",
    "starnet_s1",
    "swiftformer_xs",
    "swinv2_cr_tiny_224",
    "tiny_vit_5m_224",
    "tnt_s_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "vit_small_r26_s32_224",
    "volo_d1_224",
    "xception41",
    "xcit_nano_12_p8_224",
)


def built(name: str, seed: int = 0, **params: Any) -> Backbone:
    return build(describe(f"timm:{name}", params, RANDOM), seed, None)


def noisy(model: nn.Module) -> nn.Module:
    """Move running statistics away from 0 and 1, so that a loader which forgets them is found out."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def images(size: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (2, channels, size, size), generator=generator, dtype=torch.uint8)


def check_groups(backbone: Backbone) -> None:
    own = sorted(id(parameter) for parameter in backbone.body.parameters())
    for groups in (backbone.group_parameters(), backbone.fine_groups()):
        assert all(groups)
        assert sorted(id(parameter) for group in groups for parameter in group) == own
    assert len(backbone.fine_groups()) >= len(backbone.blocks)
    places = {name: place for place, (name, _) in enumerate(backbone.body.named_modules())}
    assert [places[block] for block in backbone.blocks] == sorted(places[block] for block in backbone.blocks)
    first = next(iter(backbone.body.parameters()))
    assert any(first is parameter for parameter in backbone.fine_groups()[0])


@pytest.mark.parametrize("name", MEMBERS)
def test_features_are_what_timm_pools_bit_for_bit_and_every_group_learns(name: str, tmp_path: Path) -> None:
    params, blocks, transformers = MEMBERS[name]
    backbone = built(name, **params)
    noisy(backbone.body)
    recipe = backbone.info.recipe
    sized = {"img_size": recipe["image_size"]} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    reference = timm.create_model(name, num_classes=0, **sized)
    reference.load_state_dict(backbone.body.state_dict())
    reference.to(memory_format=torch.channels_last)
    x = images(recipe["image_size"])
    backbone.eval(), reference.eval()
    with torch.no_grad():
        features = backbone(x)
        assert features.shape == (2, backbone.out_dim)
        assert features.isfinite().all()
        assert torch.equal(features, reference((x / 255 - 0.5) / 0.5))
    assert len(backbone.blocks) == blocks
    assert len(backbone.sublayers) == transformers
    check_groups(backbone)
    # Not in evaluation, and noisier images: with dead units a group may well receive nothing by chance.
    backbone.train()(x).square().sum().backward()
    for group in (*backbone.group_parameters(), *backbone.fine_groups()):
        assert any(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in group)
    save_weights(backbone, tmp_path / "w.safetensors")
    again = build(describe(f"timm:{name}", params, PRETRAIN), 1, tmp_path / "w.safetensors").body.state_dict()
    assert all(torch.equal(again[key], value) for key, value in backbone.body.state_dict().items())


@pytest.mark.parametrize("name", MORE)
def test_any_network_has_groups_and_a_width(name: str) -> None:
    with torch.device("meta"):
        backbone = built(name)
        size = backbone.info.recipe["image_size"]
        assert backbone.eval().body(torch.zeros(2, 3, size, size)).shape == (2, backbone.out_dim)
    check_groups(backbone)
    assert len(backbone.layer_groups) >= 3
    assert len(backbone.blocks) >= 3
    classes = {type(backbone.body.get_submodule(block)).__name__ for block in backbone.blocks}
    assert not classes & {"Conv2d", "ConvNormAct", "BatchNormAct2d", "Sequential", "Linear", "LayerNorm"}


@pytest.mark.slow
@pytest.mark.parametrize("name", timm.list_models())
def test_every_network_of_timm(name: str) -> None:
    if name.endswith("_enc"):
        with pytest.raises(UserError, match="maps or tokens"):
            describe(f"timm:{name}", {}, RANDOM)
        return
    info = describe(f"timm:{name}", {}, RANDOM)
    with torch.device("meta"):
        check_groups(build(info, 0, None))


def test_the_same_seed_gives_the_same_weights_and_no_other_does() -> None:
    for name in ("test_resnet", "test_vit", "test_nfnet", "test_maxvit"):
        one, again, other = (built(name, seed).body.state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[key], again[key]) for key in one)
        assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_grey_network_answers_as_its_colour_twin_answers_grey_images(name: str) -> None:
    colour, grey = built(name).eval(), built(name, channels=1).eval()
    assert grey.info.recipe["mean"] == [0.5]
    load_weights(grey, colour.body.state_dict(), "twin")
    x = images(colour.info.recipe["image_size"], channels=1)
    with torch.no_grad():
        torch.testing.assert_close(grey(x), colour(x), rtol=1e-3, atol=1e-4)


Place = Callable[[str, nn.Module], Path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Put a network's weights into an own cache of the hub, as if they had been downloaded; nothing else can be."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def place(tagged: str, model: nn.Module) -> Path:
        folder = tmp_path / "hub" / f"models--timm--{tagged}"
        snapshot = folder / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("a" * 40)
        save_file(model.state_dict(), snapshot / "model.safetensors")
        return snapshot / "model.safetensors"

    return place


@pytest.mark.parametrize(
    ("name", "tag", "params"),
    [
        ("test_resnet", "r160_in1k", {}),
        ("test_vit", "r160_in1k", {}),
        ("test_efficientnet", "r160_in1k", {"image_size": 64}),
        ("resnet18", "a2_in1k", {"image_size": 64}),
    ],
)
def test_published_weights_give_timms_features(name: str, tag: str, params: dict[str, Any], hub: Place) -> None:
    model = noisy(timm.create_model(name, num_classes=1000))
    hub(f"{name}.{tag}", model)
    cfg = timm.get_pretrained_cfg(f"{name}.{tag}")
    info = describe(f"timm:{name}", params, {"kind": "timm", "name": tag})
    assert info.recipe["weights"] == {"kind": "timm", "name": tag}
    assert info.recipe["image_size"] == params.get("image_size", cfg.input_size[-1])
    assert info.recipe["mean"] == pytest.approx(cfg.mean)
    assert info.recipe["std"] == pytest.approx(cfg.std)
    backbone = build(info, 0, None).eval()
    model.reset_classifier(0)
    x = images(info.recipe["resize"])  # needs no scaling
    mean, std = (torch.tensor(constants).view(3, 1, 1) for constants in (cfg.mean, cfg.std))
    cut = center_crop((x / 255 - mean) / std, [info.recipe["image_size"]])
    with torch.no_grad():
        torch.testing.assert_close(backbone(x), model.eval()(cut), rtol=1e-4, atol=1e-5)


def test_published_weights_fit_other_sizes_and_grey_images(hub: Place) -> None:
    model = timm.create_model("test_vit")
    hub("test_vit.r160_in1k", model)
    weights = {"kind": "timm", "name": "DEFAULT"}
    info = describe("timm:test_vit", {"image_size": 64, "channels": 1}, weights)
    assert info.label == "timm:test_vit(image_size=64, channels=1)/r160_in1k"
    state = build(info, 0, None).body.state_dict()
    side = timm.get_pretrained_cfg("test_vit").input_size[-1] // 16
    torch.testing.assert_close(
        state["patch_embed.proj.weight"], model.state_dict()["patch_embed.proj.weight"].sum(1, keepdim=True)
    )
    prefix = model.pos_embed.shape[1] - side**2
    assert state["pos_embed"].shape[1] == prefix + (64 // 16) ** 2


def test_published_weights_that_lack_a_tensor_are_refused(hub: Place) -> None:
    file = hub("test_resnet.r160_in1k", timm.create_model("test_resnet"))
    state = load_file(file)
    del state["layer1.0.conv1.weight"]
    save_file(state, file)
    with pytest.raises(UserError, match=r'Missing key.*"layer1\.0\.conv1\.weight"'):
        build(describe("timm:test_resnet", {}, {"kind": "timm", "name": "DEFAULT"}), 0, None)


def test_published_weights_that_cannot_be_had_say_what_to_do(hub: Place) -> None:
    info = describe("timm:test_resnet", {}, {"kind": "timm", "name": "DEFAULT"})
    with pytest.raises(UserError, match=r"cannot be had from timm/test_resnet\.r160_in1k") as caught:
        build(info, 0, None)
    assert "HF_HOME" in caught.value.hint
    assert "HF_HUB_OFFLINE" in caught.value.hint


@pytest.mark.parametrize("name", ["resnet18", "deit_tiny_distilled_patch16_224", "mobilenetv3_small_050"])
def test_a_file_saved_with_timms_own_classifier_loads(name: str, tmp_path: Path) -> None:
    model = timm.create_model(name, num_classes=7)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "own.pt")
    backbone = build(describe(f"timm:{name}", {}, FILE), 0, tmp_path / "own.pt")
    saved = read_weights(tmp_path / "own.pt")
    assert all(torch.equal(value, saved[key]) for key, value in backbone.body.state_dict().items())


@pytest.mark.parametrize(
    ("name", "params", "size", "label"),
    [
        ("resnet18", {}, 32, "timm:resnet18/random"),
        ("resnet18", {"image_size": 32, "normalization": "half"}, 32, "timm:resnet18/random"),
        ("resnet18", {"image_size": 64, "channels": 1}, 64, "timm:resnet18(image_size=64, channels=1)/random"),
        ("resnet18", {"normalization": "imagenet"}, 32, "timm:resnet18(normalization=imagenet)/random"),
        ("test_vit", {}, 160, "timm:test_vit/random"),
        ("test_vit", {"image_size": 64}, 64, "timm:test_vit(image_size=64)/random"),
        ("inception_v3", {}, 299, "timm:inception_v3/random"),  # falls apart at 32 pixels
    ],
)
def test_what_nobody_says_suits_the_network(name: str, params: dict[str, Any], size: int, label: str) -> None:
    info = describe(f"timm:{name}", params, RANDOM)
    assert (info.recipe["image_size"], info.label, info.family) == (size, label, "timm")


def test_a_default_written_out_is_the_same_recipe() -> None:
    plain = describe("timm:resnet18", {}, RANDOM).recipe
    assert describe("timm:resnet18", {"image_size": 32, "channels": 3, "normalization": "half"}, RANDOM).recipe == plain
    tag = timm.get_pretrained_cfg("resnet18").tag
    default, named = (describe("timm:resnet18", {}, {"kind": "timm", "name": each}) for each in ("DEFAULT", tag))
    assert default == named
    assert default.label == f"timm:resnet18/{tag}"
    assert describe("timm:resnet18", {"normalization": "imagenet"}, {"kind": "timm", "name": tag}) == default


@pytest.mark.parametrize(
    ("name", "params", "weights", "message", "hint"),
    [
        ("timm:resnet1", {}, RANDOM, "unknown backbone 'timm:resnet1'", "'timm:resnet18'"),
        ("timm:resnet18", {"imgsize": 32}, RANDOM, "'imgsize'", "'image_size'"),
        ("timm:resnet18", {"channels": 2}, RANDOM, "'channels'", ""),
        ("timm:resnet18", {"image_size": 4}, RANDOM, "'image_size'", ""),
        ("timm:inception_v3", {"image_size": 32}, RANDOM, "'image_size' 32 does not fit", "299"),
        ("timm:vit_tiny_patch16_224", {"image_size": 40}, RANDOM, "multiple of 16", "224"),
        ("timm:crossvit_9_240", {"image_size": 64}, RANDOM, "'image_size' 64 does not fit", "240"),
        ("timm:mobilenetv5_300m_enc", {}, RANDOM, "maps or tokens", ""),
        ("timm:resnet18", {}, {"kind": "timm", "name": "a1_in1"}, "no weights 'a1_in1'", "'a1_in1k'"),
        ("timm:pit_b_224", {}, {"kind": "timm", "name": "x"}, "no weights 'x'", "valid: "),
        ("timm:test_convnext3", {}, {"kind": "torchvision", "name": "DEFAULT"}, "torchvision has no", "timm"),
        ("resnet18", {}, {"kind": "timm", "name": "DEFAULT"}, "timm has no", "weights: torchvision"),
        ("conv4", {}, {"kind": "timm", "name": "DEFAULT"}, "timm has no", "random"),
    ],
)
def test_mistakes_are_named(
    name: str, params: dict[str, Any], weights: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UserError) as caught:
        describe(name, params, weights)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_network_without_published_weights_says_so() -> None:
    bare = next(name for name in timm.list_models() if not timm.list_models(f"{name}.*", pretrained=True))
    with pytest.raises(UserError, match="timm has no weights 'DEFAULT' for it"):
        describe(f"timm:{bare}", {}, {"kind": "timm", "name": "DEFAULT"})


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="need the library timm") as caught:
        describe("timm:resnet18", {}, RANDOM)
    assert "tlbench[timm]" in caught.value.hint
    assert "uv sync --extra timm" in caught.value.hint


def test_the_catalogue_names_the_prefix_once_and_lists_without_timm() -> None:
    assert [name for name in catalog.summaries() if name.startswith("timm:")] == ["timm:NAME"]
    assert not any(name.startswith("timm:") for name in catalog.names())
    code = (
        "import sys\nfrom tlbench.backbones import catalog\ncatalog.summaries()\ncatalog.names()\n"
        "assert not {'torch', 'timm', 'numpy'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
