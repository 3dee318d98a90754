"""Folders and zips of all kinds: every picture kept under its own name or told of, or a refusal naming the place."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_trees import Item, TreePlan, build, picture, trees
from outcomes import Outcomes, fuzz
from PIL import Image

from tlbench.core.paths import is_utf8, readable
from tlbench.data.catalog import open_dataset, validate
from tlbench.data.decoded import Decoded, fingerprint
from tlbench.data.file_tree import _is_stray
from tlbench.data.sources import folder
from tlbench.store.artifacts import Artifacts

MANY = pytest.param(6000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])


@pytest.mark.parametrize("examples", [200, MANY])
def test_any_tree_keeps_every_picture_or_is_refused(tmp_path: Path, examples: int) -> None:
    number = count()

    def attempt(outcomes: Outcomes, plan: TreePlan) -> None:
        place = tmp_path / str(next(number))
        place.mkdir()
        path, items = build(plan, place)
        read = outcomes.of(lambda: _read(path, plan.params, place))
        if read is None:
            assert readable(str(path)) in outcomes.refusals[-1].message, outcomes.refusals[-1]
            return
        _keeps_all(read, path, items, plan)
        assert fingerprint(_read(path, plan.params, place)) == fingerprint(read)
        if outcomes.counts["read"] % 10 == 0:
            opened = open_dataset("folder", {"path": str(path), **plan.params}, Artifacts(tmp_path / "artifacts"))
            assert opened.info.fingerprint == fingerprint(read)

    fuzz(trees(), attempt, examples)


def _read(path: Path, params: dict[str, Any], place: Path) -> Decoded:
    settings = folder.Params(**validate("folder", {"path": str(path), **params}, place))
    folder.signature(settings)
    return folder.decode(settings, place)


def _keeps_all(read: Decoded, path: Path, items: list[Item], plan: TreePlan) -> None:
    """Check that each file is an example of the class that its folder names, or passed over with a note."""
    links = sum(item.kind == "link out" for item in plan.items) if path.is_dir() else 0
    kept = [item for item in items if not any(map(_is_stray, item.parts))]
    notes = " ".join(read.warnings)
    if len(kept) < len(items):
        assert "passed over" in notes
    unlabeled = [item for item in kept if any(part.lower() in ("unlabeled", "unlabelled") for part in item.parts[:-1])]
    if unlabeled and "have no labels" in notes:
        kept = [item for item in kept if item not in unlabeled]
    turns = 4 if plan.params.get("rotations") else 1
    assert len(kept) * turns <= len(read.y) <= (len(kept) + links) * turns
    if turns > 1 or links or plan.params.get("invert") or plan.params.get("image_size"):
        return
    found = Counter(
        (read.classes[label].rpartition("/")[2], x.tobytes()) for x, label in zip(read.x, read.y, strict=True)
    )
    grey = read.x.shape[1] == 1
    assert found == Counter((_name(item), _pixels(item, grey)) for item in kept)
    if not all(is_utf8(item.parts[-2]) for item in kept):
        assert "not UTF-8" in notes
    spelt = {item.parts[:-1] for item in kept}
    if len(spelt) > len({unicodedata.normalize("NFC", "/".join(parts)) for parts in spelt}):
        assert "spelt in two ways" in notes, (spelt, notes)


def _name(item: Item) -> str:
    return unicodedata.normalize("NFC", readable(item.parts[-2]))


def _pixels(item: Item, grey: bool) -> bytes:
    image = Image.open(io.BytesIO(picture(item.number, item.kind))).convert("L" if grey else "RGB")
    pixels = np.asarray(image)
    return (pixels if grey else pixels.transpose(2, 0, 1)).tobytes()
