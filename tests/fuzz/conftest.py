"""A folder with a few pictures and texts, in which generated commands and suites run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of six pictures in ``pictures``, and eight texts in ``texts.csv``; the current folder."""
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for shot in range(6):
            pixels = np.random.default_rng(10 * number + shot).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{shot}.png")
    rows = [f"text {number},{'ab'[number % 2]}" for number in range(8)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    monkeypatch.chdir(tmp_path)
    return tmp_path
