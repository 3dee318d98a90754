"""NT-Xent, the loss that tells two views of one image from views of all others, and what shows its collapse."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from tlbench.training.collectives import gather_rows
from tlbench.training.context import Context


def nt_xent(z: Tensor, temperature: float, rows: Tensor | None = None) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of views.

    Chen et al. 2020, arXiv:2002.05709, algorithm 1. With s the cosine similarities over the temperature, the loss of
    view i is -s[i, p(i)] + log of the sum of exp(s[i, k]) over all k but i, where p(i) is the other view of its image.
    A mean over all views is the paper's loss. Computed in single precision, or in double where ``z`` is.

    Args:
        z: Embeddings (2N, D) of N images; rows i and i + N are the two views of one.
        temperature: Divides the similarities.
        rows: Positions of the views whose losses are wanted (R,); None is all of them.

    Returns:
        Losses (R,).
    """
    z = normalize(z if z.dtype == torch.float64 else z.float(), dim=1)
    own = torch.arange(len(z), device=z.device) if rows is None else rows
    with torch.autocast(z.device.type, enabled=False):
        s = (z if rows is None else z[rows]) / temperature @ z.T
    s.scatter_(1, own[:, None], -torch.inf)
    return cross_entropy(s, (own + len(z) // 2) % len(z), reduction="none")


def gather_views(z: Tensor, count: int, ctx: Context) -> Tensor:
    """Return the embeddings of all processes (2N, D) from this one's share of them (2b, D), with gradients to all.

    Args:
        z: The first views of this process's b images, then the second.
        count: Number N of images in the global batch.
        ctx: Processes, and which share is this one's.
    """
    if ctx.world == 1:
        return z
    z = z if z.dtype == torch.float64 else z.float()  # gradients of all processes are added up
    pairs = gather_rows(torch.cat(z.tensor_split(2), 1), count, ctx)
    return torch.cat(pairs.tensor_split(2, 1))


@torch.no_grad()
def alignment_and_uniformity(z: Tensor) -> dict[str, float]:
    """Return how near the views of one image are, and how evenly images fill the sphere.

    Wang and Isola 2020, arXiv:2005.10242, section 4: ``alignment`` is the mean squared distance between the two views
    of an image; ``uniformity`` is log mean exp(-2 d) over the squared distances d between images, of the first views.
    Both are 0 where everything has collapsed into one point; uniformity then is far from the -2 to -4 of a training
    that works.

    Args:
        z: Embeddings (2N, D) of N images; rows i and i + N are the two views of one.
    """
    first, second = normalize(z if z.dtype == torch.float64 else z.float(), dim=1).chunk(2)
    return {
        "alignment": (first - second).square().sum(1).mean().item(),
        "uniformity": torch.pdist(first).square().mul(-2).exp().mean().log().item(),
    }
