"""Where public data and weights are on this machine; tests of them are skipped, visibly, where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TLBENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""The folder of public data sets, beside this repository unless the environment says otherwise."""


def real_data(name: str) -> Path:
    """Return a file of public data, or skip the test."""
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in {DATA}")
    return DATA / name


def real_weights(repository: str) -> Path:
    """Return the folder of a repository in the cache of the Hugging Face hub, or skip the test."""
    hub = pytest.importorskip("huggingface_hub")
    place = Path(hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    snapshots = sorted((place / "snapshots").glob("*"))
    if not snapshots:
        pytest.skip(f"no {repository} in {place.parent}: set HF_HOME to a cache that has it")
    return snapshots[-1]
