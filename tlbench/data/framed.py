"""Images of several sizes as a network reads them: made once a network and dataset, and mapped like any images."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tlbench.core.hashing import digest
from tlbench.data.dataset import Dataset
from tlbench.data.framing import Framing
from tlbench.data.mixed_images import MixedImages, squared
from tlbench.store.array_files import create_array
from tlbench.store.artifacts import Artifacts

VERSION = 1


def frame(dataset: Dataset, framing: Framing, fill: tuple[int, ...], artifacts: Artifacts) -> Dataset:
    """Return a dataset of images of several sizes as one of squares (N, C, S, S); any other as it is.

    Args:
        dataset: The dataset.
        framing: How the network has images scaled and cut; S is the length that it scales to.
        fill: What pads images that are not cut, a shade a channel.
        artifacts: Where the squares are kept.
    """
    images = dataset.x
    if not isinstance(images, MixedImages):
        return dataset
    key = digest([VERSION, dataset.info.fingerprint, asdict(framing), fill], length=32)
    shape = (images.channels, framing.resize, framing.resize)

    def build(folder: Path) -> None:
        x = create_array(folder / "x.npy", np.uint8, (len(images), *shape))
        for row, image in enumerate(images):
            x[row] = squared(image, framing, fill)

    file = artifacts.get("framed", key, build) / "x.npy"
    x = np.load(file, mmap_mode="c").view(np.ndarray)
    return replace(dataset, x=x, tokens=key, info=replace(dataset.info, shape=shape))
