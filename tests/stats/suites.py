"""Simulated suites: scores of several methods on the same draws of several datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def rows(
    generator: np.random.Generator,
    methods: int = 4,
    datasets: int = 4,
    seeds: int = 5,
    levels: Sequence[float] | None = None,
    shared: float = 0.03,
    own: float = 0.02,
    hardness: float = 0.1,
    liking: float = 0.0,
) -> dict[str, dict[tuple[str, str], dict[int, float]]]:
    """Return scores by seed, by (dataset, shots), by method ``m0``, ``m1``, ...

    Args:
        generator: Source of randomness.
        methods: Number of methods.
        datasets: Number of datasets.
        seeds: Number of seeds.
        levels: True mean of each method; all 0.7 where none are given.
        shared: Spread of the luck of a draw, which all methods share.
        own: Spread of a method's own luck, on the first dataset; it grows to three times that on the last.
        hardness: Spread of the datasets, which all methods share.
        liking: Spread of how far a method likes a dataset.
    """
    true = np.full(methods, 0.7) if levels is None else np.asarray(levels)
    spread = own * np.linspace(1.0, 3.0, datasets)[None, :, None]
    scores = (
        true[:, None, None]
        + generator.normal(0, hardness, (1, datasets, 1))
        + generator.normal(0, liking, (methods, datasets, 1))
        + generator.normal(0, shared, (1, datasets, seeds))
        + generator.normal(0, 1, (methods, datasets, seeds)) * spread
    )
    return {f"m{m}": by_dataset(scores[m]) for m in range(methods)}


def by_dataset(scores: Any) -> dict[tuple[str, str], dict[int, float]]:
    """Return an array (datasets, seeds) as scores by seed, by (dataset, shots)."""
    return {(f"d{d}", "5"): dict(enumerate(map(float, values))) for d, values in enumerate(scores)}
