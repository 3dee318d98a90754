"""Labels that a network gives to examples without any, by the centres of what it takes for a class.

Liang, Hu and Feng 2020, "Do We Really Need to Access the Source Data?", arXiv:2002.08546, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot


def centroid_labels(z: Tensor, p: Tensor) -> Tensor:
    """Return the class (n,) whose centre lies nearest to each example by cosine.

    Centres are means weighted by the class's probabilities at first; then, once, means of the examples that this gave
    to the class. A class that got none is out. Features count by their direction alone, in the means as well, where the
    paper's formula has them at their length.

    Args:
        z: Features (n, D).
        p: Class probabilities (n, C).
    """
    z = normalize(z)
    labels = (z @ normalize(p.T @ z).T).argmax(1)
    chosen = one_hot(labels, p.shape[1]).to(z.dtype)
    closeness = z @ normalize(chosen.T @ z).T
    return closeness.masked_fill(chosen.sum(0) == 0, -torch.inf).argmax(1)
