"""Every backbone family that is found keeps the contract; a new file is tested without touching this one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tlbench.backbones.catalog import names
from tlbench.backbones.family import NamedFamily
from tlbench.backbones.family_files import families
from tlbench.testing.backbone_contract import check_backbone, check_family, check_lightness


def encoder(folder: Path) -> tuple[str, dict[str, Any]]:
    from small_encoders import save

    return f"hf:{save('bert', folder / 'bert')}", {}


# A small network of each family, where the first that it lists is not one.
EXAMPLES: dict[str, tuple[str, Callable[[Path], tuple[str, dict[str, Any]]]]] = {
    "hf": ("transformers", encoder),
    "timm": ("timm", lambda folder: ("timm:resnet10t", {})),
    "torchvision": ("torchvision", lambda folder: ("mobilenet_v3_small", {})),
    "text_encoder": ("torch", lambda folder: ("text_tiny", {"vocabulary": 512, "max_length": 32})),
}


@pytest.mark.parametrize("name", families())
def test_every_family_is_declared(name: str) -> None:
    check_family(name)


def test_listing_families_imports_nothing_heavy() -> None:
    check_lightness()


@pytest.mark.parametrize("name", families())
def test_every_family_keeps_the_contract(name: str, tmp_path: Path) -> None:
    library, example = EXAMPLES.get(name, ("torch", None))
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    if example is not None:
        network, params = example(tmp_path)
    elif isinstance(code := families()[name].code, NamedFamily):
        network, params = next(iter(code.summaries())), {}
    else:
        pytest.skip(f"nothing here names a network of {name}")
    check_backbone(network, params, tmp_path)


def test_every_name_belongs_to_one_family() -> None:
    listed = [name for family in families().values() if isinstance(family.code, NamedFamily)
              for name in family.code.summaries()]  # fmt: skip
    assert sorted(listed) == sorted(names())
