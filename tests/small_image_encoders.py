"""Image encoders of transformers with a few thousand parameters, saved as anybody saves theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
}
KINDS = ("vit", "dinov2", "clip", "siglip", "convnext")
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
PROCESSORS: dict[str, dict[str, Any]] = {
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}},
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 36},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
        "resample": 3,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": CLIP_MEAN,
    },
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}, "resample": 3},
    "convnext": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_pct": 0.875,
        "resample": 3,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
}


def model_of(kind: str) -> Any:
    """A whole model: with its text tower, its pooling layer, its mask token."""
    if kind == "vit":
        return transformers.ViTModel(transformers.ViTConfig(**_SHAPE))
    if kind == "dinov2":
        shape = {key: value for key, value in _SHAPE.items() if key != "intermediate_size"}
        return transformers.Dinov2Model(transformers.Dinov2Config(**shape, mlp_ratio=2))
    if kind == "convnext":
        return transformers.ConvNextModel(
            transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], image_size=32)
        )
    if kind == "clip":
        return transformers.CLIPModel(
            transformers.CLIPConfig(text_config=_TEXT, vision_config=_SHAPE, projection_dim=16)
        )
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=_TEXT, vision_config=_SHAPE))


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Save an encoder as its authors would."""
    import json

    torch.manual_seed(seed)
    model = model_of(kind)
    with torch.no_grad():
        for parameter in model.parameters():  # off the zeros and ones that hide what is left out
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[kind]))
    return folder
