"""The command init, as a user runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.backbones.catalog import describe
from tlbench.planning.first_suite import networks
from tlbench.planning.first_suite.networks import Network


@pytest.fixture
def shapes(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images, and a network for them that is small."""
    for name, shade in (("dark", 40), ("light", 200)):
        (here / "My Shapes" / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(np.full((8, 8), shade + number, np.uint8)).save(here / "My Shapes" / name / f"{number}.png")
    info = describe("conv4", {}, {"kind": "random"})
    monkeypatch.setattr(networks, "find_network", lambda *_: Network({"name": "conv4"}, info, 1e-4, ()))
    return here / "My Shapes"


def test_a_folder_becomes_a_suite_that_is_fine(command: Any, here: Path, shapes: Path) -> None:
    code, out, err = command("init", "My Shapes", "--minutes", "5")
    assert (code, err) == (0, "")
    assert "2 classes of images: 16 to train on, 4 to test on" in out
    assert "`tlbench run suites/my-shapes.yaml` answers in about 5 minutes" in out
    code, out, err = command("check", "suites/my-shapes.yaml")
    assert (code, out.startswith("suites/my-shapes.yaml: fine, 18 cells")) == (0, True), out + err


def test_nothing_is_overwritten_unasked(command: Any, here: Path, shapes: Path) -> None:
    (here / "mine.yaml").write_text("name: mine")
    code, out, err = command("init", "My Shapes", "--to", "mine.yaml")
    assert (code, out) == (2, "")
    assert "mine.yaml: is there already" in err
    assert (here / "mine.yaml").read_text() == "name: mine"
    assert command("init", "My Shapes", "--to", "mine.yaml", "--overwrite").code == 0
    assert "baseline: linear_probe" in (here / "mine.yaml").read_text()
