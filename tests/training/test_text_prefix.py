"""The frozen bottom of a text encoder, run once: texts keep their lengths, and what ids alone tell is run whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench.core.config import TrainingConfig
from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU, fake_text_backbone, fake_texts
from tlbench.training import frozen_prefix as prefix
from tlbench.training import supervised_loop as loop
from tlbench.training.batches import Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.frozen_prefix import cache_prefix
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import train_classifier


def model(depth: int) -> Classifier:
    """A classifier whose lowest layer groups are frozen."""
    backbone = fake_text_backbone().double()
    for group in backbone.group_parameters()[:depth]:
        for parameter in group:
            parameter.requires_grad_(False)
    whole = Classifier(backbone, 10).double()
    nn.init.normal_(whole.head.weight, generator=torch.Generator().manual_seed(0))
    return whole


def split(count: int = 600) -> Split:
    """Texts that come from short to long, so that pieces of them have lengths of their own."""
    dataset = fake_texts(each=count // 10, length=30)
    order = np.argsort((dataset.x != 0).sum(1), kind="stable")
    return Split(np.ascontiguousarray(dataset.x[order]), dataset.y[order], order)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_rest_answers_as_the_whole_does_for_texts_of_any_length(depth: int) -> None:
    whole, examples = model(depth), Examples(split(), CPU)
    kept = cache_prefix(whole, [examples])
    assert kept is not None
    rest, (states,) = kept
    assert not any(p.requires_grad for p in whole.backbone.group_parameters()[depth - 1])
    assert {id(p) for p in rest.parameters() if p.requires_grad} == {
        id(p) for p in whole.parameters() if p.requires_grad
    }
    for rows in (torch.arange(5), torch.arange(590, 600), torch.tensor([0, 599, 7]), torch.arange(600)):
        x, y = examples.take(rows)
        z, labels = states.take(rows)
        assert torch.equal(y, labels)
        assert z.shape[1] == min(whole.backbone.prepare(x).shape[1], int((x != 0).sum(1).max() + 7) // 8 * 8)
        torch.testing.assert_close(rest(z), whole(x), rtol=0, atol=1e-12)


def test_short_texts_are_not_computed_at_the_length_of_long_ones() -> None:
    _, (states,) = cache_prefix(model(1), [Examples(split(), CPU)]) or (None, [])
    assert states.take(torch.arange(20))[0].shape[1] == 8
    assert states.take(torch.arange(580, 600))[0].shape[1] == 30


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_training_from_kept_states_ends_with_the_weights_of_training_the_whole(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    for keep in (cache_prefix, lambda *_: None):
        monkeypatch.setattr(loop, "cache_prefix", keep)
        whole, train = model(depth), split(300)
        groups = parameter_groups([(whole.parameters(), 1e-3)], 1e-2)
        recipe = TrainingConfig(epochs=2, batch_size=32)
        train_classifier(whole, groups, train, split(100), recipe, Context(random_root="kept", device=CPU))
        trained.append(whole.state_dict())
    for name, value in trained[0].items():
        torch.testing.assert_close(value, trained[1][name], rtol=0, atol=1e-9)


class MaskedByIds(nn.Module):
    """An encoder whose blocks are told by the ids where a text ends, as those of other libraries are."""

    def __init__(self, body: nn.Module, pad: int) -> None:
        super().__init__()
        self.inner = body
        self.pad = pad

    def forward(self, ids: Tensor) -> Tensor:
        h = self.inner.stem(ids)
        for block in self.inner.blocks:
            h = block(h * (ids != self.pad)[..., None])
        return self.inner.norm(h).mean(1)


@pytest.mark.parametrize("pad", [0, 1, 60])
def test_a_network_whose_mask_is_made_from_ids_is_run_whole_even_where_no_text_is_padded(pad: int) -> None:
    whole = model(1)
    backbone = whole.backbone
    vocabulary = backbone.vocabulary
    assert vocabulary is not None
    said: dict[str, Any] = {**vars(vocabulary), "pad": pad}
    backbone.vocabulary = type(vocabulary)(**said)
    backbone.prepare.pad = pad
    backbone.body = MaskedByIds(backbone.body, pad)
    backbone.layer_groups = [[f"inner.{name}" for name in group] for group in backbone.layer_groups]
    ids = np.full((8, 16), 9, np.int32)
    assert cache_prefix(whole, [Examples(Split(ids, np.zeros(8, np.int64), np.arange(8)), CPU)]) is None


def test_states_that_would_take_too_much_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first texts are short: their size is not that of all."""
    examples, whole = [Examples(split(), CPU)], model(1)
    bytes_of_all = 600 * 30 * 32 * 8
    monkeypatch.setattr(prefix, "_MAX_BYTES", bytes_of_all)
    assert cache_prefix(whole, examples) is not None
    monkeypatch.setattr(prefix, "_MAX_BYTES", bytes_of_all - 1)
    assert cache_prefix(whole, examples) is None
