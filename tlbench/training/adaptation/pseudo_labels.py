"""Pseudo-labels of unlabelled examples by the nearest class centroid.

Liang, Hu and Feng 2020, "Do We Really Need to Access the Source Data?", arXiv:2002.08546, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot


def centroid_labels(z: Tensor, p: Tensor) -> Tensor:
    """Return the class (n,) of the nearest centroid by cosine for each example.

    Centroids are first the means of all examples weighted by the class's probabilities; then, once, the means of the
    examples that the first centroids assigned to the class. A class without such examples is assigned to none. Unlike
    in the paper's formula, features are normalised to length one also in the means.

    Args:
        z: Features (n, D).
        p: Class probabilities (n, C).
    """
    z = normalize(z)
    labels = (z @ normalize(p.T @ z).T).argmax(1)
    assigned = one_hot(labels, p.shape[1]).to(z.dtype)
    similarity = z @ normalize(assigned.T @ z).T
    return similarity.masked_fill(assigned.sum(0) == 0, -torch.inf).argmax(1)
