"""Every method on one small member of each family of networks: what must hold whatever the architecture."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig

sys.path.append(str(Path(__file__).parents[1] / "backbones"))
from small_encoders import config

from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.families import hf
from tlbench.core.info import BackboneInfo
from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import Case
from tlbench.testing.fakes import fake_text_backbone

SIZE = 32
TEXTS = ("text_tiny", "hf:bert", "hf:distilbert")
MODELS = torchvision.models
SMALL: dict[str, Callable[..., nn.Module]] = {
    "resnet50": lambda: MODELS.ResNet(MODELS.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=8),
    "convnext_tiny": lambda: MODELS.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)]),
    "vit_b_16": lambda image_size: MODELS.VisionTransformer(image_size, 16, 2, 2, 32, 64),
    "swin_t": lambda: MODELS.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.1),
    "swin_v2_t": lambda: MODELS.SwinTransformer(
        [2, 2],
        16,
        [2, 2],
        [2, 4],
        [4, 4],
        block=MODELS.swin_transformer.SwinTransformerBlockV2,
        downsample_layer=MODELS.swin_transformer.PatchMergingV2,
    ),
}
"""Networks of torchvision's classes, a few thousand parameters each, that stand in for the smallest published one."""
IMAGES = (*SMALL, "efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "timm:test_vit", "timm:test_resnet")


def _small(name: str) -> Backbone:
    if name == "text_tiny":
        return fake_text_backbone()
    if name.startswith("hf:"):
        return _small_encoder(name)
    with pytest.MonkeyPatch.context() as patch:
        if name in SMALL:
            whole = MODELS.get_model

            def get_model(asked: str, weights: None = None, **arguments: Any) -> nn.Module:
                return SMALL[asked](**arguments) if asked in SMALL else whole(asked, weights=weights, **arguments)

            patch.setattr(MODELS, "get_model", get_model)
        params = {} if name.startswith("timm:") else {"image_size": SIZE}
        backbone = build(describe(name, params, {"kind": "random"}), 0, None)
    for module in backbone.body.modules():  # a trained network has no branch that a zero scale shuts off
        scale = getattr(module, "weight", None)
        if "Norm" in type(module).__name__ and scale is not None and not scale.any():
            nn.init.ones_(scale)
    return backbone


def _small_encoder(name: str) -> Backbone:
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config(name.removeprefix("hf:")))
    recipe = {**fake_text_backbone().info.recipe, "name": name, "width": 32}
    return hf.assemble(BackboneInfo(name, "hf", "text", name, recipe), model)


def _methods(modality: str) -> list[str]:
    """Every method that trains a network: those on frozen features do not see the architecture, but texts are new."""
    found = []
    for name in registry.names("methods"):
        declared = registry.declaration("methods", name)
        trains = modality == "text" or not declared.constants.FROZEN_BACKBONE
        trains = trains and declared.constants.BACKBONE
        found += [name] if trains and "classification" in declared.protocols and modality in declared.modalities else []
    return found


# By default a deep network's stem learns too slowly for single precision to show it within three epochs.
SHORT: dict[str, dict[str, Any]] = {
    "gradual_unfreezing": {"epochs": 5, "order": "head_first"},
    "discriminative_lr": {"epochs": 3, "decay": 0.8},
    "simclr": {"epochs": 1, "tune_epochs": 2},
    # Features of untrained deep networks may be 1e10, and a gradient of that size, clipped, leaves nothing to others.
    "lp_ft": {"epochs": 3, "clip_norm": None},
    "wise_ft": {"epochs": 3, "clip_norm": None},
}


SOLVED = ("setfit",)
HUGE_FEATURES = ("efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small")
"""Untrained, these tell inputs apart by the last bits of large features, on which a solved head cannot rest."""


def _short(method: str) -> dict[str, Any]:
    trains = "epochs" in registry.declaration("methods", method).settings.model_fields
    return SHORT.get(method, {"epochs": 3} if trains else {})


CASES = [
    Case(method, "classification", partial(_small, family), _short(method), validation=False)
    for modality, families in (("image", IMAGES), ("text", TEXTS))
    for family in families
    for method in _methods(modality)
    if method not in SOLVED or family not in HUGE_FEATURES
]


def _title(case: Case) -> str:
    assert isinstance(case.backbone, partial)
    return f"{case.backbone.args[0]}-{case.method}"


@pytest.mark.parametrize("case", CASES, ids=_title)
def test_family(case: Case, tmp_path: Path) -> None:
    assert isinstance(case.backbone, partial)
    for prefix, library in (("timm:", "timm"), ("hf:", "transformers")):
        if case.backbone.args[0].startswith(prefix):
            pytest.importorskip(library)
    try:
        fitted = contract.run(case, tmp_path)
    except contract.RefusedError as reason:
        pytest.skip(str(reason))
    assert torch.isfinite(fitted.logits).all()
    contract.assert_footprint(fitted)
    contract.assert_inductive(fitted)
