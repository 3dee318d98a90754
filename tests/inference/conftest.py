"""Models of images and of texts, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest
from exported_models import exported, text_grid

from tlbench.export.export_cell import ExportOptions


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory: pytest.TempPathFactory, decoded: Path) -> Path:
    """A probe of handwritten digits, images of 8 x 8 grey pixels."""
    folder = tmp_path_factory.mktemp("digits")
    return exported(folder, decoded, "linear_probe", shots=[20])[0].folder


@pytest.fixture(scope="session")
def texts_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned encoder of short texts, not calibrated."""
    folder = tmp_path_factory.mktemp("texts")
    method = {"name": "finetune", "params": {"epochs": 3}}
    return exported(folder, folder / "artifacts", method, options=ExportOptions(), **text_grid(folder))[0].folder
