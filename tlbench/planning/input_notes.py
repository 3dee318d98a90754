"""Notes on inputs that are far from what a network was made to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tlbench.backbones.image_recipe import framing
from tlbench.core.cell import Cell
from tlbench.core.info import BackboneInfo, DatasetInfo

_FAR = 1.5  # times smaller or larger than the size that a network was made for
_ENLARGED = 2.0  # times that images are enlarged


def input_notes(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return what a reader must know of the sizes of images that the cells of a plan read.

    Networks with random weights, and those that tlbench trained from them, were made for the size that they read.

    Args:
        cells: The cells.
    """
    pairs = {(cell.backbone.key, cell.dataset.info.fingerprint): cell for cell in cells}
    notes: dict[str, None] = {}
    for cell in pairs.values():
        notes |= dict.fromkeys(_notes(cell.backbone.info, cell.dataset.info))
    return tuple(notes)


def _notes(backbone: BackboneInfo, dataset: DatasetInfo) -> Iterator[str]:
    if backbone.modality != "image" or dataset.modality != "image":
        return
    how, made_for = framing(backbone.recipe), backbone.made_for
    if dataset.usual_side:
        count = sum(sum(counts) for counts in dataset.counts.values())
        space = count * dataset.shape[0] * how.resize**2 / 1e6
        yield f"{backbone.label} reads {dataset.name} from squares of {how.resize} pixels, {space:.0f} MB on disk"
    if not made_for:
        return
    if not 1 / _FAR <= how.image_size / made_for <= _FAR:
        yield f"{backbone.label} reads images of {how.image_size} pixels, but its weights were made for {made_for}"
    side = dataset.short_side
    if side and how.resize > _ENLARGED * side:
        yield f"{backbone.label} reads {dataset.name} enlarged from {side} to {how.resize} pixels"
