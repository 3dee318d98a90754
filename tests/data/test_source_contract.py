"""Every dataset source that is found keeps the contract; a new file is tested without touching this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.data.catalog import names
from tlbench.data.source_files import load_source
from tlbench.plugins.discovery import find
from tlbench.testing.dataset_contract import check_declaration, check_lightness, check_source


def write_folder(folder: Path) -> dict[str, Any]:
    for domain in ("day", "night"):
        for kind in ("cat", "dog"):
            (folder / domain / kind).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(np.full((8, 8), 50 * number, np.uint8)).save(folder / domain / kind / f"{number}.png")
    return {"path": str(folder)}


def write_texts(folder: Path) -> dict[str, Any]:
    (folder / "talk.csv").write_text("text,label\n" + "\n".join(f"text {n},{n % 2}" for n in range(10)) + "\n")
    return {"path": str(folder / "talk.csv")}


# What opens a small dataset without a network, where the defaults do not.
EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "folder": write_folder,
    "texts": write_texts,
    "pair": lambda folder: {"source": {"name": "rendered_digits", "images": 420}, "target": "digits"},
    "rendered_digits": lambda folder: {"images": 420},
    "glyphs": lambda folder: {"variants": 1, "scripts": ["greek", "georgian"]},
}


@pytest.mark.parametrize("name", names())
def test_every_source_is_declared(name: str) -> None:
    check_declaration(name)


def test_listing_sources_imports_nothing_heavy() -> None:
    check_lightness()


@pytest.mark.parametrize("name", [name for name in names() if name in find("datasets")])
def test_every_source_with_a_file_of_its_own_keeps_the_contract(name: str, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    if name in EXAMPLES:
        params = EXAMPLES[name](tmp_path / "given")
    elif any(field.is_required() for field in load_source(name).params.model_fields.values()):
        pytest.skip(f"nothing here says how to open {name}")
    else:
        params = {}
    check_source(name, params, tmp_path)


def test_what_is_missing_under_an_example_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such"):
        check_source("folder", {"path": str(tmp_path / "nothing")}, tmp_path)
