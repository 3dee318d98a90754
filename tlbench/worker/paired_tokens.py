"""Lets a student and its teacher read the same texts with different tokenisers, in one table of token ids.

Where their token ids differ, the student's and the teacher's stand in the same row, side by side, and each network is
given its own columns. So the dataset, its splits and its batches stay as they are.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.hashing import digest
from tlbench.data.dataset import Dataset


class TokenColumns(nn.Module):
    """Selects some of the columns of token ids.

    Args:
        start: The first column.
        stop: The one after the last.
    """

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start = start
        self.stop = stop

    def forward(self, ids: Tensor) -> Tensor:
        """Return the columns (B, stop - start) of ids (B, L)."""
        return ids[:, self.start : self.stop]


def join_tokens(
    student_data: Dataset, teacher_data: Dataset, student: Backbone, teacher: nn.Module
) -> tuple[Dataset, Backbone, nn.Module]:
    """Return one dataset for a student and its teacher, and both networks changed so that they read it.

    Where both read the same token ids, or images, the arguments themselves are returned.

    Args:
        student_data: The dataset as the student reads it, (N, L) token ids or images.
        teacher_data: The same dataset as the teacher reads it.
        student: The student's backbone; it is copied where it must change.
        teacher: The teacher, in evaluation mode.
    """
    if student_data.tokens == teacher_data.tokens:
        return student_data, student, teacher
    own_ids, teacher_ids = np.asarray(student_data.x), np.asarray(teacher_data.x)
    width, total = own_ids.shape[1], own_ids.shape[1] + teacher_ids.shape[1]
    joined = replace(
        student_data,
        x=np.hstack([own_ids, teacher_ids]),
        tokens=digest([student_data.tokens, teacher_data.tokens], length=32),
        notes=(*student_data.notes, *teacher_data.notes),
    )
    student = copy.deepcopy(student)
    student.prepare = nn.Sequential(TokenColumns(0, width), student.prepare)
    return joined, student, nn.Sequential(TokenColumns(width, total), teacher).eval()
