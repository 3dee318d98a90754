"""NT-Xent, the contrastive loss of SimCLR, and measures that show a collapse of the embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from tlbench.training.collectives import gather_rows
from tlbench.training.precision import at_least_float32
from tlbench.training.process_group import ProcessGroup


def nt_xent(z: Tensor, temperature: float, rows: Tensor | None = None) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of views.

    Chen et al. 2020, arXiv:2002.05709, algorithm 1. With s the cosine similarities divided by the temperature, the loss
    of view i is -s[i, p(i)] + log of the sum of exp(s[i, k]) over all k but i, where p(i) is the other view of its
    image. The mean over all views is the paper's loss. Computed in float32, or in float64 if ``z`` is in float64.

    Args:
        z: Embeddings (2N, D) of N images; rows i and i + N are the two views of one image.
        temperature: Divides the similarities.
        rows: Positions of the views whose losses are returned (R,); None is all of them.

    Returns:
        Losses (R,).
    """
    z = normalize(at_least_float32(z), dim=1)
    own = torch.arange(len(z), device=z.device) if rows is None else rows
    with torch.autocast(z.device.type, enabled=False):
        s = (z if rows is None else z[rows]) / temperature @ z.T
    s.scatter_(1, own[:, None], -torch.inf)
    return cross_entropy(s, (own + len(z) // 2) % len(z), reduction="none")


def gather_views(z: Tensor, count: int, group: ProcessGroup) -> Tensor:
    """Return the embeddings of all processes (2N, D) from this process's shard (2b, D), differentiable in all.

    Args:
        z: The first views of this process's b images, then their second views.
        count: Number N of images in the global batch.
        group: The processes.
    """
    if not group.is_distributed:
        return z
    z = at_least_float32(z)  # gradients of all processes are added up
    pairs = gather_rows(torch.cat(z.tensor_split(2), 1), count, group)
    return torch.cat(pairs.tensor_split(2, 1))


@torch.no_grad()
def alignment_and_uniformity(z: Tensor) -> dict[str, float]:
    """Return alignment and uniformity of embeddings on the unit sphere, as ``alignment`` and ``uniformity``.

    Wang and Isola 2020, arXiv:2005.10242, section 4. Alignment is the mean squared distance between the two views of an
    image; uniformity is log mean exp(-2 d) over the squared distances d between the first views of different images.
    Both are 0 if all embeddings have collapsed to one point, while uniformity is about -2 to -4 in a successful
    training.

    Args:
        z: Embeddings (2N, D) of N images; rows i and i + N are the two views of one image.
    """
    first, second = normalize(at_least_float32(z), dim=1).chunk(2)
    return {
        "alignment": (first - second).square().sum(1).mean().item(),
        "uniformity": torch.pdist(first).square().mul(-2).exp().mean().log().item(),
    }
