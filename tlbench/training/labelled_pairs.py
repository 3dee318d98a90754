"""Pairs of labelled examples, of one class or of two, and the loss that tunes an encoder to tell which they are.

Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts", arXiv:2209.11055, section 3; the loss is that of
Reimers and Gurevych 2019, "Sentence-BERT", arXiv:1908.10084, for similarities.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tlbench.training.batches import Examples, length_pieces
from tlbench.training.collectives import gather_rows
from tlbench.training.context import Context
from tlbench.training.precision import at_least_float32


class Pairs(NamedTuple):
    """Pairs of examples.

    Attributes:
        first: Position of the first of each pair (p,).
        second: Position of the second (p,).
        target: The cosine similarity that they are to have (p,): 1 in one class, 0 in two.
    """

    first: Tensor
    second: Tensor
    target: Tensor


class PairBatch(NamedTuple):
    """A global batch of pairs.

    Attributes:
        rows: The distinct examples, as positions in the split (r,); on the CPU.
        pairs: The pairs, as positions in ``rows``; on the CPU.
    """

    rows: Tensor
    pairs: Pairs


class RoundPlan(NamedTuple):
    """The rounds of a training.

    Attributes:
        rounds: Number of rounds.
        anchors: Number of examples for which each round has two pairs.
        batches: Number of batches of a round.
    """

    rounds: int
    anchors: int
    batches: int


def plan_rounds(examples: int, iterations: int, batch_size: int, most_steps: int) -> RoundPlan:
    """Return how many rounds a training has: as many as it was given, unless they take more steps than are allowed.

    Whole rounds are left out first, so that all examples have the same number of pairs. Where one round of all examples
    takes more steps than are allowed, there is one round of as many examples as they suffice for.

    Args:
        examples: Number of labelled examples, two of which are in different classes.
        iterations: Rounds that were asked for.
        batch_size: Largest number of pairs of a step.
        most_steps: Largest number of steps.
    """
    anchors = min(examples, most_steps * batch_size // 2)
    batches = -(-2 * anchors // batch_size)
    return RoundPlan(max(1, min(iterations, most_steps // batches)), anchors, batches)


def draw_pairs(labels: Tensor, anchors: Tensor, generator: torch.Generator) -> Pairs:
    """Return two pairs of each anchor: with another example of its class, and with one of another class.

    Partners are drawn uniformly. An example that is alone in its class is paired with itself; where there is one class
    only there are no negative pairs.

    Args:
        labels: Labels of all examples (n,), on the CPU.
        anchors: Positions of the anchors (a,).
        generator: A CPU generator.

    Returns:
        The positive pairs (a,), and then the negative ones (a,).
    """
    order = labels.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    _, of_class, sizes = labels.unique(return_inverse=True, return_counts=True)
    start, size = (sizes.cumsum(0) - sizes)[of_class[anchors]], sizes[of_class[anchors]]
    chance = torch.rand(2, len(anchors), generator=generator, dtype=torch.float64)
    step = 1 + (chance[0] * (size - 1)).long()
    same = order[start + (place[anchors] - start + step) % size]
    if len(sizes) == 1:
        return Pairs(anchors, same, torch.ones(len(anchors)))
    other = (chance[1] * (len(labels) - size)).long()
    different = order[other + size * (other >= start)]
    target = torch.cat([torch.ones(len(anchors)), torch.zeros(len(anchors))])
    return Pairs(anchors.repeat(2), torch.cat([same, different]), target)


class PairBatches:
    """The batches of every round, in which each anchor is once in a positive and once in a negative pair of its own.

    Pairs are drawn anew in every round, mixed, and cut into batches whose sizes differ by at most one. A batch names an
    example once, however many of its pairs have it; only an example that is paired with itself stands there twice, so
    that the two differ by what the network drops at random.

    Args:
        labels: Labels of the examples (n,), on the CPU.
        plan: The rounds.
        ctx: Randomness.
        name: Name of the training, unique within the cell.
    """

    def __init__(self, labels: Tensor, plan: RoundPlan, ctx: Context, name: str) -> None:
        self._labels = labels
        self._plan = plan
        self._ctx = ctx
        self._name = name

    def epoch(self, number: int) -> Iterator[PairBatch]:
        """Yield the batches of one round."""
        generator = self._ctx.generator(self._name, "pairs", number)
        anchors = torch.randperm(len(self._labels), generator=generator)[: self._plan.anchors]
        pairs = draw_pairs(self._labels, anchors, generator)
        order = torch.randperm(len(pairs.first), generator=generator)
        for chosen in order.tensor_split(self._plan.batches):
            yield self._batch(Pairs(*(part[chosen] for part in pairs)))

    def _batch(self, pairs: Pairs) -> PairBatch:
        count = len(self._labels)
        twice = count * (pairs.first == pairs.second)
        rows, positions = torch.cat([pairs.first, pairs.second + twice]).unique(return_inverse=True)
        first, second = positions.chunk(2)
        return PairBatch(rows % count, Pairs(first, second, pairs.target))


def embed_rows(model: nn.Module, examples: Examples, rows: Tensor, ctx: Context) -> Tensor:
    """Return the embeddings (r, D) of some examples of all processes, in the order of ``rows``, with gradients.

    Each process embeds its shard. Texts pass in pieces of similar length where that saves padding.

    Args:
        model: Maps raw inputs (B, ...) to embeddings (B, D).
        examples: The examples.
        rows: Their positions (r,), on the CPU.
        ctx: Precision and processes.
    """
    own = ctx.shard(rows)
    pieces = length_pieces(examples.lengths, own, ctx)
    with ctx.autocast():
        parts = [model(examples.take(own[piece])[0]) for piece in pieces]
    z = at_least_float32(torch.cat(parts))
    back = torch.cat(pieces).argsort().to(z.device)
    return gather_rows(z[back], len(rows), ctx.group)


def cosine_losses(z: Tensor, pairs: Pairs) -> Tensor:
    """Return the squared difference of cosine similarity and target (p,) of pairs of embeddings.

    Args:
        z: Embeddings (r, D).
        pairs: The pairs, as positions in ``z``, on its device.
    """
    z = normalize(at_least_float32(z), dim=1)
    similarity = (z[pairs.first] * z[pairs.second]).sum(1)
    return (similarity - pairs.target.to(similarity.dtype)).square()
