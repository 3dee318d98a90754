"""Checks ``pretrain_seeds``: there is a run for it to vary, and nothing else in the suite says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tlbench.core.hashing import canonical
from tlbench.core.validation import Location, Problem
from tlbench.suite.normal_form import list_of, mappings_in
from tlbench.suite.spec import read_seeds

KEY = "pretrain_seeds"


def check_pretrain_seeds(suite: dict[str, Any]) -> Iterator[Problem]:
    """Check the seeds of pre-training runs in a suite.

    Args:
        suite: In its normal form; any part of it may still be wrong.
    """
    grids = [(position, grid) for position, grid in enumerate(list_of(suite.get("grids"))) if isinstance(grid, dict)]
    if suite.get(KEY) is not None and not any(_pretrained(grid, ()) for _, grid in grids):
        yield _nothing_varies((), "the suite")
    seen: dict[str, tuple[int, ...]] = {}
    for position, grid in grids:
        here: Location = ("grids", position)
        own = grid.get(KEY)
        asked = suite.get(KEY) if own is None else own
        if asked is None:
            continue
        pretrained = _pretrained(grid, here)
        if own is not None and not pretrained:
            yield _nothing_varies(here, "this grid")
        for backbone, where in pretrained:
            yield from _own_seeds(backbone["pretrain"], (*where, "pretrain"))
        yield from _other_seeds(asked, pretrained, here, seen)


def _pretrained(grid: dict[str, Any], here: Location) -> list[tuple[dict[str, Any], Location]]:
    """Return the backbones of a grid whose weights the suite pre-trains, and where they stand."""
    listed = enumerate(mappings_in(grid.get("backbones")))
    return [(each, (*here, "backbones", number)) for number, each in listed if isinstance(each.get("pretrain"), dict)]


def _nothing_varies(here: Location, what: str) -> Problem:
    said = f"{KEY}: no backbone of {what} is pre-trained by tlbench"
    return Problem((*here, KEY), said, "give one a pretrain: {method: ..., dataset: ...}, or leave it out")


def _own_seeds(pretrain: dict[str, Any], here: Location) -> Iterator[Problem]:
    """Yield where a run, or one before it, names a seed of its own."""
    if "seed" in pretrain:
        yield Problem((*here, "seed"), f"seed: {KEY} gives the seeds of this run", "leave out the one or the other")
    if isinstance(pretrain.get("after"), dict):
        yield from _own_seeds(pretrain["after"], (*here, "after"))


def _other_seeds(
    asked: Any,
    pretrained: list[tuple[dict[str, Any], Location]],
    here: Location,
    seen: dict[str, tuple[int, ...]],
) -> Iterator[Problem]:
    """Yield where an earlier grid has other runs of a backbone, which would stand in one row with these.

    Args:
        asked: What the suite says for this grid.
        pretrained: The backbones, and where they stand.
        here: Where the grid stands.
        seen: Seeds by backbone, of the grids before; those of this one are added.
    """
    try:
        seeds = read_seeds(asked)
    except ValueError:
        return  # which is said already
    for backbone, _ in pretrained if len(seeds) > 1 else ():
        before = seen.setdefault(canonical(backbone), seeds)
        if before != seeds:
            what = f"{KEY}: another grid pre-trains {backbone.get('name')} with the seeds {_named(before)}"
            yield Problem((*here, KEY), what, "give both grids the same, since their cells stand in one row")
            return


def _named(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds[:5])) + (", ..." if len(seeds) > 5 else "")
