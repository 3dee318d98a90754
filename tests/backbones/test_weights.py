"""Weights from torchvision's cache, from a user's file and from a pre-training run."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.weights import load_weights, read_weights, save_weights
from tlbench.core.errors import UserError

RANDOM = {"kind": "random"}
FILE = {"kind": "file", "sha256": "0" * 64}
PRETRAIN = {"kind": "pretrain", "method": "supervised", "dataset": "abc"}
Cache = Callable[[str, str, dict[str, Tensor]], Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Put a state into an own cache of torch's, as if torchvision's weights of that name had been downloaded.

    Nothing else can be: what is not cached fails at a port where nobody listens.
    """
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for scheme in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    # urllib keeps the proxies it first saw: its opener must neither come from another test nor outlive this one.
    monkeypatch.setattr(urllib.request, "_opener", None)

    def place(model: str, weights: str, state: dict[str, Tensor]) -> Path:
        url = torchvision.models.get_model_weights(model)[weights].url
        file = tmp_path / "torch" / "hub" / "checkpoints" / url.rpartition("/")[2]
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, file)
        return file

    return place


def conv4(seed: int = 0, **params: Any) -> Backbone:
    return build(describe("conv4", {"width": 4, **params}, RANDOM), seed, None)


def noisy(model: nn.Module) -> nn.Module:
    """Move running statistics away from 0 and 1, so that a loader which forgets them is found out."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize(("asked", "real"), [("DEFAULT", "IMAGENET1K_V1"), ("IMAGENET1K_V1", "IMAGENET1K_V1")])
@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5"])
def test_published_weights_give_torchvisions_features(name: str, asked: str, real: str, cache: Cache) -> None:
    model = noisy(torchvision.models.get_model(name)).eval()
    cache(name, real, model.state_dict())
    info = describe(name, {}, {"kind": "torchvision", "name": asked})
    backbone = build(info, 0, None).eval()
    head = model.get_submodule("fc" if name.startswith("shuffle") else "classifier.1")
    seen: list[Tensor] = []
    head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.randint(0, 256, (2, 3, 240, 300), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    evaluation = torchvision.models.get_model_weights(name)[real].transforms()
    with torch.no_grad():
        model(evaluation(x / 255))
        expected = seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]
        torch.testing.assert_close(backbone(x), expected, rtol=1e-4, atol=1e-5)


def test_two_published_weights_of_one_network_are_told_apart(cache: Cache) -> None:
    one, two = (torchvision.models.mobilenet_v3_large().state_dict() for _ in range(2))
    cache("mobilenet_v3_large", "IMAGENET1K_V1", one)
    cache("mobilenet_v3_large", "IMAGENET1K_V2", two)
    for name, state in (("IMAGENET1K_V1", one), ("DEFAULT", two)):
        body = build(describe("mobilenet_v3_large", {}, {"kind": "torchvision", "name": name}), 0, None).body
        assert torch.equal(body.state_dict()["features.0.0.weight"], state["features.0.0.weight"])


def test_auxiliary_heads_and_the_conversion_inside_googlenet_leave_the_features_alone(cache: Cache) -> None:
    full = torchvision.models.googlenet(aux_logits=True, init_weights=False, transform_input=True)
    cache("googlenet", "IMAGENET1K_V1", full.state_dict())
    backbone = build(
        describe("googlenet", {"image_size": 64, "crop": 1.0}, {"kind": "torchvision", "name": "DEFAULT"}), 0, None
    )
    full.fc = nn.Identity()
    x = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = full.eval()((x / 255 - mean) / std)
        torch.testing.assert_close(backbone.eval()(x), expected, rtol=1e-3, atol=1e-4)


def test_published_weights_for_grey_images_are_summed_over_the_inputs(cache: Cache) -> None:
    model = torchvision.models.squeezenet1_1()
    cache("squeezenet1_1", "IMAGENET1K_V1", model.state_dict())
    info = describe("squeezenet1_1", {"channels": 1}, {"kind": "torchvision", "name": "DEFAULT"})
    assert "summed" in info.recipe["grey"]
    body = build(info, 0, None).body
    expected = model.features[0].weight.sum(1, keepdim=True)
    assert torch.equal(body.state_dict()["features.0.weight"], expected)


def test_weights_that_cannot_be_downloaded_say_where_to_put_them(cache: Cache, tmp_path: Path) -> None:
    info = describe("squeezenet1_1", {}, {"kind": "torchvision", "name": "DEFAULT"})
    with pytest.raises(UserError, match="cannot be downloaded from https://") as caught:
        build(info, 0, None)
    assert str(tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth") in caught.value.hint


def test_a_broken_download_is_named(cache: Cache) -> None:
    file = cache("squeezenet1_1", "IMAGENET1K_V1", {})
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"squeezenet1_1-b8a52dc0\.pth cannot be read"):
        build(describe("squeezenet1_1", {}, {"kind": "torchvision", "name": "DEFAULT"}), 0, None)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("densenet121", r"denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
        ("vit_b_32", "mlp.linear_1.weight", "encoder.layers.encoder_layer_0.mlp.0.weight"),
    ],
)
def test_names_that_older_published_files_use_are_understood(name: str, old: str, new: str) -> None:
    with torch.device("meta"):
        backbone = build(describe(name, {}, RANDOM), 0, None)
        state = dict(backbone.body.state_dict())
    outdated = {}
    for key, tensor in state.items():
        name = key
        for current, previous in (
            *((f"{kind}{n}.", f"{kind}.{n}.") for kind in ("norm", "conv") for n in (1, 2) if ".denselayer" in key),
            *((f".mlp.{3 * n}.", f".mlp.linear_{n + 1}.") for n in (0, 1)),
        ):
            name = name.replace(current, previous)
        outdated[name] = tensor
    assert any(old in key for key in outdated)
    assert new not in outdated
    load_weights(backbone, outdated, "old file")


def wrapped(state: dict[str, Tensor]) -> dict[str, Any]:
    """Yield-like table of the ways in which files hold a state."""
    head = {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}
    return {
        "bare": state,
        "head": state | head,
        "parallel": {f"module.{key}": value for key, value in (state | head).items()},
        "compiled": {f"_orig_mod.{key}": value for key, value in state.items()},
        "backbone": {f"backbone.{key}": v for key, v in state.items()} | {"head.weight": torch.zeros(2, 4)},
        "nested": {"epoch": 3, "state_dict": {f"module.backbone.{key}": value for key, value in state.items()}},
        "counters": {key: value for key, value in state.items() if "num_batches" not in key},
        "half": {key: v.double() if v.is_floating_point() else v for key, v in state.items()},
    }


@pytest.mark.parametrize("form", ["bare", "head", "parallel", "compiled", "backbone", "nested", "counters", "half"])
@pytest.mark.parametrize("suffix", ["safetensors", "pt", "legacy"])
def test_a_file_is_understood_in_the_forms_in_which_people_save(form: str, suffix: str, tmp_path: Path) -> None:
    state = noisy(conv4(1)).body.state_dict()
    content = wrapped(state)[form]
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        if form == "nested":
            pytest.skip("a safetensors file cannot nest")
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=suffix == "pt")
    backbone = build(describe("conv4", {"width": 4}, FILE), 0, path)
    assert same(backbone.body.state_dict(), state)


def test_a_classifier_of_torchvisions_in_the_file_is_dropped(tmp_path: Path) -> None:
    model = torchvision.models.mobilenet_v3_small(num_classes=7)
    torch.save(model.state_dict(), tmp_path / "own.pt")
    backbone = build(describe("mobilenet_v3_small", {}, FILE), 0, tmp_path / "own.pt")
    expected = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier.3.")}
    assert same(backbone.body.state_dict(), expected)


def test_what_does_not_fit_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    backbone, state = conv4(0), conv4(1).body.state_dict()
    before = {key: value.clone() for key, value in backbone.body.state_dict().items()}
    spoilt = {key: value for key, value in state.items() if key != "block2.0.bias"}
    spoilt |= {"block9.0.bias": torch.zeros(4), "block1.0.weight": torch.zeros(4, 1, 5, 5)}
    with pytest.raises(UserError) as caught:
        load_weights(backbone, spoilt, "w.pt")
    message = caught.value.message
    assert message.startswith("w.pt: does not fit conv4(width=4)/random")
    assert "missing: block2.0.bias" in message
    assert "unexpected: block9.0.bias" in message
    assert "block1.0.weight: 4x1x5x5 there, 4x1x3x3 here" in message
    assert same(backbone.body.state_dict(), before)


def test_weights_of_another_architecture_name_only_the_first_few() -> None:
    with pytest.raises(UserError, match=r"missing: .*\.\.\. \(\d+ in all\)") as caught:
        load_weights(conv4(), torchvision.models.squeezenet1_1().state_dict(), "w.pt")
    assert len(caught.value.message) < 600


def test_weights_trained_with_the_standard_stem_are_told_from_the_small_one(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"conv1\.weight: 64x3x7x7 there, 64x3x3x3 here") as caught:
        build(describe("resnet18", {}, FILE), 0, tmp_path / "w.pt")
    assert "stem: standard" in caught.value.hint
    build(describe("resnet18", {"image_size": 224}, FILE), 0, tmp_path / "w.pt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x80\x02 broken", b"just text, much longer than 8"])
def test_a_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pt: (cannot be read|is empty|is cut off|is a text)"):
        read_weights(tmp_path / "w.pt")


class Trap:
    """Pickles into a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_no_code_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"trap": Trap()}, "w.pt")
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": {}}])
def test_a_file_without_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds no named tensors"):
        read_weights(tmp_path / "w.pt")


def test_pretrained_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    trained = noisy(conv4(5))
    assert isinstance(trained, Backbone)
    save_weights(trained, tmp_path / "weights.safetensors")
    assert same(load_file(tmp_path / "weights.safetensors"), trained.body.state_dict())
    backbone = build(describe("conv4", {"width": 4}, PRETRAIN), 0, tmp_path / "weights.safetensors")
    assert same(backbone.body.state_dict(), trained.body.state_dict())


def test_pretrained_weights_must_fit_exactly(tmp_path: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in conv4(5).body.state_dict().items()}
    save_file(state | {"fc.weight": torch.zeros(2, 4)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"unexpected: fc\.weight"):
        build(describe("conv4", {"width": 4}, PRETRAIN), 0, tmp_path / "w.safetensors")
    build(describe("conv4", {"width": 4}, FILE), 0, tmp_path / "w.safetensors")


@pytest.mark.parametrize("weights", [FILE, PRETRAIN])
def test_a_recipe_that_needs_a_file_is_not_built_without_one(weights: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need a file"):
        build(describe("conv4", {"width": 4}, weights), 0, None)
