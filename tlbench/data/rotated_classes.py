"""Makes each class turned by 90, 180 and 270 degrees a class of its own, as is usual for characters.

Source: Santoro et al. 2016, arXiv:1605.06065; Vinyals et al. 2016, arXiv:1606.04080.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tlbench.core.errors import UserError
from tlbench.data.class_groups import deal_groups
from tlbench.data.decoded import Decoded

TURNS = 4
_CHUNK = 1024


def with_rotations(decoded: Decoded, where: str) -> Decoded:
    """Return a dataset of four times the examples and classes.

    A turned copy lies on the side of its original in every split: of the examples and, for episodes, of the classes.
    Where the source declares no split of its classes, this function splits them, by their names.

    Args:
        decoded: N examples, but room for 4 N images (4 N, C, H, W): the first N are there, the others are written here.
        where: The source, for messages.

    Raises:
        UserError: The images are not square, or there are fewer than three classes to split.
    """
    x, count, classes = decoded.x, len(decoded.y), len(decoded.classes)
    assert isinstance(x, np.ndarray)
    height, width = x.shape[2:]
    if height != width:
        raise UserError(
            f"{where}: images of {width}x{height} pixels have another shape when turned",
            f"give image_size, e.g. image_size: {min(height, width)}",
        )
    splits = decoded.class_splits or deal_groups(decoded.classes)
    if not splits:
        raise UserError(f"{where}: {classes} classes cannot be split, and their rotations must not be split apart")
    for turn in range(1, TURNS):
        for start in range(0, count, _CHUNK):
            rows = slice(start, min(start + _CHUNK, count))
            x[turn * count + rows.start : turn * count + rows.stop] = np.rot90(x[rows], turn, axes=(2, 3))
    return replace(
        decoded,
        y=np.concatenate([decoded.y + turn * classes for turn in range(TURNS)]),
        part=np.tile(decoded.part, TURNS),
        classes=decoded.classes + tuple(f"{name}@{90 * turn}" for turn in range(1, TURNS) for name in decoded.classes),
        domain=None if decoded.domain is None else np.tile(decoded.domain, TURNS),
        class_splits={
            part: tuple(label + turn * classes for turn in range(TURNS) for label in labels)
            for part, labels in splits.items()
        },
    )
