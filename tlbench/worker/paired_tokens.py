"""Two networks that read the same texts as other token ids: both stand side by side, and each network reads its own."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.hashing import digest
from tlbench.data.dataset import Dataset


class Columns(nn.Module):
    """Some of the columns of token ids.

    Args:
        start: The first of them.
        stop: The one after the last.
    """

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start = start
        self.stop = stop

    def forward(self, ids: Tensor) -> Tensor:
        """Return the columns (B, stop - start) of ids (B, L)."""
        return ids[:, self.start : self.stop]


def side_by_side(
    own: Dataset, taught: Dataset, backbone: Backbone, teacher: nn.Module
) -> tuple[Dataset, Backbone, nn.Module]:
    """Return a dataset that a student and its teacher both read, and the two as they read it.

    Where both read the same, that is what was given.

    Args:
        own: The dataset as the student reads it.
        taught: The same as the teacher reads it.
        backbone: The student; left as it is.
        teacher: The teacher, in evaluation mode.
    """
    if own.tokens == taught.tokens:
        return own, backbone, teacher
    width, whole = own.x.shape[1], own.x.shape[1] + taught.x.shape[1]
    both = replace(
        own,
        x=np.hstack([own.x, taught.x]),
        tokens=digest([own.tokens, taught.tokens], length=32),
        notes=(*own.notes, *taught.notes),
    )
    backbone = copy.deepcopy(backbone)
    backbone.prepare = nn.Sequential(Columns(0, width), backbone.prepare)
    return both, backbone, nn.Sequential(Columns(width, whole), teacher).eval()
