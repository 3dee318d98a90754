"""Masking: what is selected, what it becomes, how often, and that the collator of transformers does the same."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from torch import Tensor

from tlbench.backbones.backbone import Vocabulary
from tlbench.training.selfsupervised.masking import IGNORE_INDEX, mask_tokens, non_special_tokens

PAD, MASK = 0, 3
VOCABULARY = Vocabulary(size=40, pad=PAD, mask=MASK, special=(PAD, 1, 2, MASK, 17, 39))
ORDINARY = [token for token in range(5, 31) if token not in VOCABULARY.special]  # the table has rows for more
TO_DRAW = torch.tensor(ORDINARY)
DRAWS = 1000
ALPHA = 1e-3  # of every test of a distribution, under a fixed seed


def _texts() -> Tensor:
    """Eight texts of 3 to 24 tokens with special ones at both ends and inside, padded."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.full((8, 24), PAD)
    for row in range(8):
        length = 3 * (row + 1)
        ids[row, :length] = torch.tensor(ORDINARY)[torch.randint(len(ORDINARY), (length,), generator=generator)]
        ids[row, 0], ids[row, length - 1] = 1, 2
    ids[5, 7], ids[6, 3] = 17, MASK
    return ids


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Texts, inputs and labels of a thousand draws (1000, B, L)."""
    generator = torch.Generator().manual_seed(0)
    masked = [mask_tokens(_texts(), VOCABULARY, TO_DRAW, 0.15, generator) for _ in range(DRAWS)]
    texts = _texts().expand(DRAWS, -1, -1)
    return texts, torch.stack([one.inputs for one in masked]), torch.stack([one.labels for one in masked])


def test_special_tokens_and_padding_are_never_selected_and_never_changed(drawn: tuple[Tensor, ...]) -> None:
    texts, inputs, labels = drawn
    special = torch.isin(texts, torch.tensor(VOCABULARY.special))
    assert special.any()
    assert (labels[special] == IGNORE_INDEX).all()
    assert torch.equal(inputs[special], texts[special])
    assert (labels[:, ~special[0]] != IGNORE_INDEX).any(0).all(), "every other token is, now and then"


def test_labels_are_the_originals_where_selected_and_nothing_else_changes(drawn: tuple[Tensor, ...]) -> None:
    texts, inputs, labels = drawn
    selected = labels != IGNORE_INDEX
    assert torch.equal(labels[selected], texts[selected])
    assert torch.equal(inputs[~selected], texts[~selected])


def test_the_rate_is_the_probability_token_by_token(drawn: tuple[Tensor, ...]) -> None:
    texts, _, labels = drawn
    ordinary = ~torch.isin(texts[0], torch.tensor(VOCABULARY.special))
    counts = (labels != IGNORE_INDEX).sum(0)[ordinary].double()
    sigma = (DRAWS * 0.15 * 0.85) ** 0.5
    assert abs(counts.mean() - DRAWS * 0.15) < 3 * sigma / len(counts) ** 0.5
    z = (counts - DRAWS * 0.15) / sigma
    assert z.abs().max() < 4.5
    assert z.square().mean().item() == pytest.approx(1, abs=0.5), "each token's count is binomial"


def test_the_number_of_selected_tokens_varies_as_that_of_independent_draws(drawn: tuple[Tensor, ...]) -> None:
    texts, _, labels = drawn
    tokens = (~torch.isin(texts[0], torch.tensor(VOCABULARY.special))).sum(1).double()
    variance = (labels != IGNORE_INDEX).sum(2).double().var(0)
    torch.testing.assert_close(variance / (tokens * 0.15 * 0.85), torch.ones(8).double(), rtol=0, atol=0.2)


def test_of_the_selected_80_in_100_are_masked_10_replaced_and_10_stay(drawn: tuple[Tensor, ...]) -> None:
    texts, inputs, labels = drawn
    selected = labels != IGNORE_INDEX
    became, was = inputs[selected], texts[selected]
    masked, same = (became == MASK).sum().item(), (became == was).sum().item()
    total = len(was)
    again = 0.1 / len(ORDINARY)  # a random token may be the one that stood there
    expected = [0.8 * total, (0.1 - again) * total, (0.1 + again) * total]
    assert chisquare([masked, total - masked - same, same], expected).pvalue > ALPHA


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ordinary_tokens_are_those_that_texts_hold_without_special_ones(dtype: torch.dtype) -> None:
    found = non_special_tokens(_texts().to(dtype), VOCABULARY)
    held = {token for text in _texts().tolist() for token in text}
    assert held - set(VOCABULARY.special) == set(found.tolist())
    assert found.unique().numel() == len(found) < VOCABULARY.size - len(VOCABULARY.special)
    assert found.dtype == torch.int64


def test_random_tokens_are_even_over_those_that_texts_hold(drawn: tuple[Tensor, ...]) -> None:
    texts, inputs, labels = drawn
    replaced = inputs[(labels != IGNORE_INDEX) & (inputs != MASK) & (inputs != texts)]
    counts = torch.bincount(replaced, minlength=VOCABULARY.size)
    assert counts.sum() == counts[ORDINARY].sum()
    assert chisquare(counts[ORDINARY].numpy()).pvalue > ALPHA


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_the_texts_given_are_not_changed(dtype: torch.dtype) -> None:
    ids = _texts().to(dtype)
    before = ids.clone()
    masked = mask_tokens(ids, VOCABULARY, TO_DRAW, 0.9, torch.Generator().manual_seed(0))
    assert torch.equal(ids, before)
    assert not torch.equal(masked.inputs, before)
    shared = {ids.data_ptr(), masked.inputs.data_ptr(), masked.labels.data_ptr()}
    assert len(shared) == 3
    assert {masked.inputs.dtype, masked.labels.dtype} == {dtype}


def test_the_same_generator_gives_the_same_masks_and_leaves_the_global_one_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = (
        mask_tokens(_texts(), VOCABULARY, TO_DRAW, 0.3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.labels, other.labels)


def test_what_is_drawn_does_not_depend_on_the_texts() -> None:
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    mask_tokens(_texts(), VOCABULARY, TO_DRAW, 0.3, generators[0])
    mask_tokens(torch.full_like(_texts(), 5), VOCABULARY, TO_DRAW, 0.9, generators[1])
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_where_there_is_nothing_to_select_nothing_is() -> None:
    ids = torch.tensor([[1, 2, PAD], [1, MASK, 2]])
    assert len(non_special_tokens(ids, VOCABULARY)) == 0
    masked = mask_tokens(ids, VOCABULARY, non_special_tokens(ids, VOCABULARY), 0.99, torch.Generator().manual_seed(0))
    assert torch.equal(masked.inputs, ids)
    assert (masked.labels == IGNORE_INDEX).all()


def test_the_statistics_are_those_of_transformers() -> None:
    """Selected or not, and what the selected become, on the same texts; theirs may also draw special tokens."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    size, names = 500, {"pad_token": "0", "cls_token": "1", "sep_token": "2", "mask_token": "3"}
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({str(token): token for token in range(size)}, "4"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=own, unk_token="4", **names)
    collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, size, (100, 60), generator=generator)
    ids[:, 0], ids[:, -1], ids[::2, 40:] = 1, 2, 0
    vocabulary = Vocabulary(size=size, pad=0, mask=3, special=(0, 1, 2, 3, 4))
    ordinary = non_special_tokens(ids, vocabulary)
    assert ordinary.tolist() == list(range(5, size)), "theirs draws from the whole vocabulary"

    def table(inputs: Tensor, labels: Tensor) -> list[int]:
        selected = labels != IGNORE_INDEX
        assert torch.equal(labels[selected], ids[selected])
        assert not torch.isin(labels, torch.tensor(vocabulary.special)).any()
        masked, same = selected & (inputs == 3), selected & (inputs == ids)
        kept = (~selected & (ids > 4)).sum()
        return [int(n) for n in (kept, masked.sum(), same.sum(), (selected & ~masked & ~same).sum())]

    counts = torch.zeros(2, 4, dtype=torch.int64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for _ in range(20):
            theirs = collate([{"input_ids": text.tolist()} for text in ids])
            counts[0] += torch.tensor(table(*mask_tokens(ids, vocabulary, ordinary, 0.15, generator)))
            counts[1] += torch.tensor(table(theirs["input_ids"], theirs["labels"]))
    assert counts.sum(1).unique().numel() == 1
    assert counts.min() > 500
    assert chi2_contingency(counts.numpy()).pvalue > ALPHA
