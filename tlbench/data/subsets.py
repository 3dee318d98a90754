"""Rows of a dataset: those of some domains, and a fixed sample of each class; and copies of their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tlbench.core.errors import UserError, nearest
from tlbench.core.hashing import derive_seed
from tlbench.data.dataset import Dataset
from tlbench.data.decoded import canvas
from tlbench.data.mixed_images import MixedImages

Rows = NDArray[np.int64]
Domain = str | tuple[str, ...] | None
"""One domain, several, or all."""


def domain_names(domain: Domain) -> tuple[str, ...]:
    """Return the names of domains, none where all are meant."""
    return () if domain is None else (domain,) if isinstance(domain, str) else domain


def domain_rows(dataset: Dataset, domain: Domain) -> Rows:
    """Return the rows of some domains, or all.

    Raises:
        UserError: A domain is unknown.
    """
    known, wanted = dataset.info.domains, domain_names(domain)
    for name in wanted:
        if name not in known:
            hint = nearest(name, known) if known else "it has no domains: leave domain out"
            raise UserError(f"{dataset.info.name} has no domain {name!r}", hint)
    if not wanted:
        return np.arange(len(dataset.y))
    return np.flatnonzero(np.isin(dataset.domain, [known.index(name) for name in wanted]))


def with_domain(name: str, domain: Domain) -> str:
    """Return how people call some domains of a dataset."""
    return "/".join(filter(None, (name, "+".join(domain_names(domain)))))


def sample_rows(dataset: Dataset, rows: Rows, most: Mapping[int, int]) -> Rows:
    """Return at most so many of some rows of each class, by a fixed random order.

    Args:
        dataset: The dataset; its content decides the order.
        rows: Row numbers to choose among, ascending.
        most: Number of examples of each class, by the number of the part; all of a part that is not named.

    Returns:
        Ascending row numbers.
    """
    seed = derive_seed("subset", dataset.info.fingerprint)
    keys = np.random.PCG64(seed).random_raw(len(dataset.y))[rows]
    order = np.lexsort((keys, dataset.y[rows], dataset.part[rows]))
    strata = np.stack([dataset.part[rows], dataset.y[rows]])[:, order]
    starts = np.flatnonzero(np.any(np.diff(strata, axis=1, prepend=-1) != 0, axis=0))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    limits = np.array([most.get(int(part), len(order)) for part in strata[0]], np.int64)
    return np.sort(rows[order[rank < limits]])


def copy_inputs(dataset: Dataset, rows: Rows, folder: Path) -> NDArray[np.uint8] | MixedImages | Sequence[str]:
    """Return copies of the inputs of some rows, as the content of another dataset.

    Args:
        dataset: The dataset.
        rows: Row numbers.
        folder: Where images are written.
    """
    x = dataset.x
    if isinstance(x, MixedImages):
        copies = MixedImages.create(folder, [(int(h), int(w)) for h, w in x.sizes[rows]], x.channels)
        for place, row in enumerate(rows.tolist()):
            copies[place][:] = x[row]
        return copies
    if isinstance(x, np.ndarray):
        images = canvas(folder, len(rows), cast("tuple[int, int, int]", x.shape[1:]))
        np.take(x, rows, axis=0, out=images)
        return images
    return [str(x[row]) for row in rows.tolist()]
