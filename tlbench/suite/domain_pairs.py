"""Pairs of a source and a target, and how a suite that lists pairs of domains becomes one that lists datasets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

from tlbench.suite.spec import DatasetSpec, Suite

_PAIR = "pair"  # the source of data that joins the two domains


def split_pair(text: str) -> tuple[str, str]:
    """Return the two names of ``A -> B``."""
    source, _, target = text.partition(" -> ")
    return source.strip(), target.strip()


def one_pair(spec: DatasetSpec, source: str | tuple[str, ...], target: str) -> DatasetSpec:
    """Return the dataset that is made of a source domain, or several, and a target of one that lists pairs."""
    side = {"name": spec.name, "params": spec.params}
    return DatasetSpec(name=_PAIR, params={"source": {**side, "domain": source}, "target": {**side, "domain": target}})


def every_pair(domains: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return all pairs of different domains, each in both directions."""
    return list(permutations(domains, 2))


def leave_one_out(domains: tuple[str, ...]) -> list[tuple[str | tuple[str, ...], str]]:
    """Return each domain as a target whose source are all the others together."""
    return [(tuple(name for name in domains if name != target), target) for target in domains]


def expand_datasets(suite: Suite, datasets_of: Callable[[DatasetSpec, int, int], list[DatasetSpec]]) -> Suite:
    """Return the suite with each dataset replaced by those that it stands for.

    Args:
        suite: A suite as its file says it.
        datasets_of: Returns them for a dataset and its place: grid, and dataset in the grid.
    """
    grids = []
    for g, grid in enumerate(suite.grids):
        datasets = [each for d, spec in enumerate(grid.datasets) for each in datasets_of(spec, g, d)]
        grids.append(grid.model_copy(update={"datasets": tuple(datasets)}))
    return suite.model_copy(update={"grids": tuple(grids)})
