"""Exported encoders of Hugging Face stand alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exported_models import exported, hash_of_test_logits, texts

import tlbench
from tlbench.backbones.catalog import construct
from tlbench.export.small_difference import library_name

pytest.importorskip("transformers")

from small_encoders import save

LORA = {"name": "lora", "params": {"epochs": 3, "rank": 2, "lr": 0.05}}


def test_an_encoder_of_hugging_face_needs_neither_hub_nor_folder_once_it_is_exported(tmp_path: Path) -> None:
    encoder = save("bert", tmp_path / "bert")
    grid = {"datasets": [{"name": "texts", "path": str(texts(tmp_path))}]}
    backbones = [{"name": f"hf:{encoder}", "weights": "hf"}]
    result, record, cell, cache = exported(tmp_path, tmp_path / "artifacts", LORA, backbones=backbones, **grid)
    moved = tmp_path / "elsewhere"
    shutil.move(result.folder, moved)
    shutil.rmtree(encoder)
    model = tlbench.load(moved)
    assert record.outcome is not None
    assert hash_of_test_logits(model, cell, cache) == record.outcome.logits
    assert str(tmp_path) not in (moved / "tlbench.json").read_text()
    names = json.loads((moved / "peft" / "adapter_config.json").read_text())["target_modules"]
    own = construct(model.description.backbone_info, model.description.architecture).body.get_submodule("model")
    assert set(names) <= {name for name, _ in own.named_modules()}, "names as transformers has them"
    assert library_name(model.description.backbone_info, "model.a.b") == "a.b"
