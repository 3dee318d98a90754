"""Texts beside texts of their length, in training and evaluation: less padding, and nothing else changes."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.core.config import TrainingConfig
from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU, fake_dataset, fake_text_backbone, fake_texts
from tlbench.training import supervised_loop as loop
from tlbench.training.augmentation.policy import UNCHANGED
from tlbench.training.batches import Batch, Batches, Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.evaluation import evaluate
from tlbench.training.frozen_features import embed
from tlbench.training.frozen_prefix import cache_prefix
from tlbench.training.length_buckets import text_lengths
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.process_group import ProcessGroup
from tlbench.training.supervised_loop import LoopOptions, train_classifier

RATE = 0.5


class _KilledError(Exception):
    pass


def _context(**changes: Any) -> Context:
    return Context(**{"random_root": "texts", "device": CPU, **changes})


def _split(count: int = 40) -> Split:
    dataset = fake_texts(each=count // 10)
    return Split(dataset.x, dataset.y, np.arange(count))


def _model(dropout: float = 0.0) -> Classifier:
    """A classifier in double precision whose head says something."""
    model = Classifier(fake_text_backbone(), 10).double()
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model


def _step(model: Classifier, ctx: Context, **more: Any) -> dict[str, Tensor]:
    """Take one step of plain gradient descent, and return what was added to each parameter, over minus the rate."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    recipe = TrainingConfig(epochs=1, batch_size=40, optimizer="sgd", warmup=0.0)
    groups = parameter_groups([(model.parameters(), RATE)], 0.0)
    train_classifier(model, groups, _split(), None, recipe, ctx, LoopOptions(**more))
    return {name: (before[name] - p.detach()) / RATE for name, p in model.named_parameters()}


def _widths(model: nn.Module) -> list[int]:
    """Return the list that every batch's longest text is put into from now on."""
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, args: seen.append(int((args[0] != 0).sum(1).max())))
    return seen


def test_lengths_are_told_by_the_ends() -> None:
    x = torch.tensor([[5, 6, 7, 0, 0], [5, 0, 0, 0, 0], [5, 6, 7, 8, 9], [4, 4, 4, 4, 4]], dtype=torch.int32)
    lengths = text_lengths(x)
    assert lengths is not None
    assert lengths.tolist() == [3, 1, 4, 0]
    texts = torch.from_numpy(fake_texts().x)
    found = text_lengths(texts)
    assert found is not None
    padded = (texts == 0).any(1)
    assert torch.equal(found[padded], (texts != 0).sum(1)[padded].int())
    assert text_lengths(x.float()) is None
    assert text_lengths(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)) is None


@pytest.mark.parametrize(("size", "count"), [(40, 4), (20, 2), (15, 1), (4, 1)])
def test_pieces_are_all_of_a_batch_from_short_to_long(size: int, count: int) -> None:
    split = _split()
    batches = Batches(Examples(split, CPU), size, UNCHANGED, _context(), "fit")
    for batch in batches.epoch(0):
        pieces = batches.micro_batches(batch)
        assert len(pieces) == count
        assert sorted(torch.cat([piece.rows for piece in pieces]).tolist()) == sorted(batch.rows.tolist())
        lengths = [(piece.x != 0).sum(1) for piece in pieces]
        assert all(int(a.max()) <= int(b.min()) for a, b in pairwise(lengths))
        for piece in pieces:
            assert piece.size == batch.size
            assert torch.equal(piece.x, torch.from_numpy(split.x)[piece.rows])
            assert torch.equal(piece.y, torch.from_numpy(split.labels)[piece.rows])
            assert count == 1 or len(piece.rows) >= 8


def test_what_is_no_text_and_what_others_share_stays_whole() -> None:
    images = fake_dataset()
    for split, changes in (
        (Split(images.x, images.y, np.arange(len(images.y))), {}),
        (_split(), {"group": ProcessGroup(0, 2)}),
        (_split(), {"device": torch.device("cuda")}),
    ):
        batches = Batches(Examples(split, CPU), 40, UNCHANGED, _context(**changes), "fit")
        (batch, *_) = batches.epoch(0)
        assert batches.micro_batches(batch) == [batch]


def test_kept_states_are_as_long_as_the_texts_of_their_piece() -> None:
    model = _model()
    for parameter in model.backbone.group_parameters()[0]:
        parameter.requires_grad_(False)
    _, (states,) = cache_prefix(model, [Examples(_split(), CPU)]) or (None, [])
    batches = Batches(states, 40, UNCHANGED, _context(), "fit")
    (batch,) = batches.epoch(0)
    widths = [piece.x.shape[1] for piece in batches.micro_batches(batch)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] == batch.x.shape[1]


def test_a_step_in_pieces_is_that_of_the_whole_batch() -> None:
    model = _model()
    twin, split = copy.deepcopy(model), _split()
    widths = _widths(model)
    ctx = _context()
    found = _step(model, ctx)
    assert len(widths) == 4
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    loss = cross_entropy(twin.train()(torch.from_numpy(split.x)), torch.from_numpy(split.labels))
    loss.backward()
    for name, p in twin.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(found[name], p.grad, rtol=1e-9, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")
    assert ctx.curves["train_loss"][0][1] == pytest.approx(loss.item(), rel=1e-6)


def test_a_penalty_counts_once_and_a_loss_sees_each_example_with_its_own_logits() -> None:
    model = _model()
    plain = _step(copy.deepcopy(model), _context())
    twin = copy.deepcopy(model)
    found = _step(twin, _context(), penalty=lambda: 3 * twin.head.bias.sum())
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, plain[name] + 3 * (name == "head.bias"), rtol=1e-9, atol=1e-10)
    seen: list[int] = []
    x, labels = torch.from_numpy(_split().x), torch.from_numpy(_split().labels)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        seen.extend(batch.rows.tolist())
        assert torch.equal(batch.y, labels[batch.rows])
        torch.testing.assert_close(logits, model(x[batch.rows]), rtol=1e-9, atol=1e-9)
        return cross_entropy(logits, batch.y, reduction="none")

    again = _step(copy.deepcopy(model), _context(), loss=loss)
    assert sorted(seen) == list(range(40))
    torch.testing.assert_close(again, plain, rtol=1e-12, atol=1e-14)


def test_two_processes_take_the_step_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = _step(_model(), _context())
    monkeypatch.setattr(Context, "wrap", lambda ctx, module: module)
    monkeypatch.setattr(loop, "all_reduce_sum", lambda value, ctx: value)
    shares = [_step(_model(), _context(group=ProcessGroup(rank, 2))) for rank in range(2)]
    for name, gradient in alone.items():
        torch.testing.assert_close((shares[0][name] + shares[1][name]) / 2, gradient, rtol=1e-9, atol=1e-12)


def test_training_is_resumed_bit_for_bit_with_dropout(tmp_path: Path) -> None:
    recipe = TrainingConfig(epochs=4, batch_size=32)

    def train(ctx: Context) -> dict[str, Tensor]:
        model = _model(dropout=0.2)
        groups = parameter_groups([(model.parameters(), 1e-3)], 1e-2)
        train_classifier(model, groups, _split(100), _split(), recipe, ctx)
        return copy.deepcopy(model.state_dict())

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise _KilledError

    straight = train(_context())
    with pytest.raises(_KilledError):
        train(_context(checkpoints=Checkpoints(tmp_path, interval=0.0), on_epoch=kill))
    resumed = train(_context(checkpoints=Checkpoints(tmp_path, interval=0.0)))
    assert all(torch.equal(resumed[name], value) for name, value in straight.items())


def test_evaluation_goes_from_short_to_long_and_scores_alike() -> None:
    model, split = _model().eval(), _split(600)
    with torch.no_grad():
        logits = model(torch.from_numpy(split.x))
    labels = torch.from_numpy(split.labels)
    widths = _widths(model)
    found = evaluate(model, Examples(split, CPU), _context())
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert found.accuracy == (logits.argmax(1) == labels).double().mean().item()
    assert found.nll == pytest.approx(cross_entropy(logits, labels).item(), rel=1e-12)


@pytest.mark.parametrize("some", [False, True])
def test_embeddings_come_back_in_their_order(some: bool) -> None:
    model, x = _model().eval(), fake_texts(each=60).x
    rows = np.random.default_rng(0).permutation(len(x))[:500] if some else None
    with torch.no_grad():
        expected = model(torch.from_numpy(x if rows is None else x[rows])).float()
    widths = _widths(model)
    torch.testing.assert_close(embed(model, x, rows, CPU), expected, rtol=1e-6, atol=1e-6)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
