"""Masking of tokens: the inputs and labels of masked language modelling."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tlbench.backbones.backbone import Vocabulary

IGNORE_INDEX = -100
"""The label of a position that is not predicted."""

_MASKED, _REPLACED = 0.8, 0.1  # fractions of the selected tokens; the others stay unchanged


class MaskedTexts(NamedTuple):
    """Texts with some tokens masked or replaced.

    Attributes:
        inputs: The network's inputs (B, L).
        labels: The original token at every selected position, :data:`IGNORE_INDEX` elsewhere (B, L).
    """

    inputs: Tensor
    labels: Tensor


def non_special_tokens(texts: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return the ids (V,) that occur in texts (n, L) and are not special, in ascending order.

    These are usually far fewer than the rows of an embedding table or the tokens of a tokeniser.
    """
    ids: Tensor = texts.unique()
    return ids[~torch.isin(ids, torch.tensor(vocabulary.special, device=ids.device))].long()


def mask_tokens(
    ids: Tensor, vocabulary: Vocabulary, replacements: Tensor, probability: float, generator: torch.Generator
) -> MaskedTexts:
    """Select tokens at random, and mask or replace most of them; the given ids are not changed.

    Devlin et al. 2019, arXiv:1810.04805, section 3.1. Every token that is not special is selected independently, so
    the number of selected tokens of a text varies and may be zero; a fixed number would make the rate depend on the
    text's length. Of the selected tokens 80% are replaced by the mask, 10% by a random token that occurs in the texts,
    and 10% stay; a token that occurs in no text would be recognisable as a replacement.

    Args:
        ids: Token ids (B, L), padded.
        vocabulary: The special ids and the mask.
        replacements: The ids (V,) from which random tokens are drawn uniformly: :func:`non_special_tokens` of all
            texts.
        probability: Probability that a token is selected.
        generator: A CPU generator. What is drawn depends only on the shape of ``ids`` and on ``replacements``.
    """
    chance, kind = torch.rand(2, *ids.shape, generator=generator).to(ids.device)
    special = torch.tensor(vocabulary.special, device=ids.device)
    selected = (chance < probability) & ~torch.isin(ids, special)
    masked = torch.where(kind < _MASKED, vocabulary.mask, ids)
    replaced = (kind >= _MASKED) & (kind < _MASKED + _REPLACED)
    masked = torch.where(replaced, _random_tokens(replacements, ids, generator), masked)
    return MaskedTexts(torch.where(selected, masked, ids), torch.where(selected, ids, IGNORE_INDEX))


def _random_tokens(replacements: Tensor, ids: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random token for each position; without replacements no token can be selected, and ids are returned."""
    if not len(replacements):
        return ids
    return replacements[torch.randint(len(replacements), ids.shape, generator=generator)].to(ids)
