"""Image networks of today, small and with random weights, under every way of tuning: a few steps each, as cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_process import done, new_cache
from PIL import Image
from small_suites import planned, suite

SHORT = {"epochs": 2}
METHODS: list[Any] = [
    "linear_probe",
    {"name": "finetune", "params": SHORT},
    {"name": "lora", "params": SHORT},
    {"name": "adapter", "params": SHORT},
    {"name": "discriminative_lr", "params": SHORT},
    {"name": "gradual_unfreezing", "params": {"epochs": 16}},
    {"name": "bitfit", "params": SHORT},
]
TIMM: dict[str, dict[str, Any]] = {
    "convnext_atto": {"image_size": 32},
    "eva02_tiny_patch14_224": {"image_size": 28},
    "vit_xsmall_patch16_clip_224": {"image_size": 32},
    "vit_small_patch14_dinov2": {"image_size": 28},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photographs of two sizes, one bright on top and one below."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label in ("above", "below"):
        (folder / label).mkdir()
        for number in range(12):
            x = draw.integers(0, 90, (40, 40 + 8 * (number % 2), 3), dtype=np.uint8)
            x[:20] += 150 * (label == "above")
            x[20:] += 150 * (label == "below")
            Image.fromarray(x).save(folder / label / f"{number}.png")
    return folder


def check(backbone: dict[str, Any], photos: Path, folder: Path) -> None:
    given = {
        "methods": METHODS,
        "backbones": [backbone],
        "datasets": [{"name": "folder", "path": str(photos)}],
        "shots": [4],
        "seeds": 1,
    }
    cells = planned(suite("encoders", given), folder, folder / "a")
    assert len(cells) == len(METHODS), "none is not applicable"
    cache = new_cache(folder / "a")
    for cell in cells:
        record = done(cell, cache)
        assert record.outcome is not None
        assert np.isfinite(record.outcome.scores["accuracy"]), cell.method.label
        assert "pixels" in record.provenance["input"]


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "siglip", "convnext"])
def test_image_encoders_of_hugging_face_are_tuned_in_every_way(kind: str, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from small_image_encoders import save

    check({"name": f"hf:{save(kind, tmp_path / f'small-{kind}')}", "weights": "hf"}, photos, tmp_path)


@pytest.mark.parametrize("name", TIMM)
def test_image_encoders_of_timm_are_tuned_in_every_way(name: str, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    check({"name": f"timm:{name}", **TIMM[name]}, photos, tmp_path)
