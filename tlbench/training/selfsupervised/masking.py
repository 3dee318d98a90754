"""Which tokens of texts are hidden, and behind what: the input and the labels of masked language modelling."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tlbench.backbones.backbone import Vocabulary

IGNORE_INDEX = -100
"""The label of a position that is not asked for."""

_MASKED, _REPLACED = 0.8, 0.1  # of the selected tokens; the others stay as they are


class MaskedTexts(NamedTuple):
    """Texts with some tokens hidden.

    Attributes:
        inputs: What the network reads (B, L).
        labels: The original token at every selected position, :data:`IGNORE_INDEX` elsewhere (B, L).
    """

    inputs: Tensor
    labels: Tensor


def non_special_tokens(texts: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return the ids (V,) that occur in texts (n, L) and are not special, in ascending order.

    A table of tokens may have more rows than its tokeniser has tokens, and a text shows few of either.
    """
    found = texts.unique()
    return found[~torch.isin(found, torch.tensor(vocabulary.special, device=found.device))].long()


def mask_tokens(
    ids: Tensor, vocabulary: Vocabulary, ordinary: Tensor, probability: float, generator: torch.Generator
) -> MaskedTexts:
    """Select tokens at random and hide most of them; the texts given stay as they are.

    Devlin et al. 2019, arXiv:1810.04805, section 3.1. Every token that is not special is selected on its own, so a
    text's number of selected tokens varies and may be none, as the rate would else depend on its length. Of the
    selected, 80% become the mask, 10% a random one of those that texts hold, and 10% stay; a token that no text holds
    would show by itself that it is not the one that stood there.

    Args:
        ids: Token ids (B, L), padded.
        vocabulary: Tells special ids from others.
        ordinary: The ids (V,) that random tokens are drawn from, evenly: :func:`non_special_tokens` of all texts.
        probability: Chance of a token to be selected.
        generator: A CPU generator. What is drawn depends on the shape of ``ids`` alone, not on their device, and
            on ``ordinary``.
    """
    chance, kind = torch.rand(2, *ids.shape, generator=generator).to(ids.device)
    special = torch.tensor(vocabulary.special, device=ids.device)
    selected = (chance < probability) & ~torch.isin(ids, special)
    hidden = torch.where(kind < _MASKED, vocabulary.mask, ids)
    replaced = (kind >= _MASKED) & (kind < _MASKED + _REPLACED)
    hidden = torch.where(replaced, _drawn(ordinary, ids, generator), hidden)
    return MaskedTexts(torch.where(selected, hidden, ids), torch.where(selected, ids, IGNORE_INDEX))


def _drawn(ordinary: Tensor, ids: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random token for each place; where texts hold none, nothing is selected, and the ids serve."""
    if not len(ordinary):
        return ids
    return ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)].to(ids)
