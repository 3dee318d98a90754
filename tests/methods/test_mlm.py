"""Masked language modelling: its head and loss against closed forms, what it reads, and what it learns."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from tlbench.backbones.backbone import Backbone
from tlbench.data.dataset import Split
from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, fake_task, fake_text_backbone, fake_texts
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.process_group import ProcessGroup
from tlbench.training.selfsupervised.language_head import LanguageModel
from tlbench.training.selfsupervised.masked_batches import MaskedBatch, MaskedBatches
from tlbench.training.selfsupervised.masking import IGNORE_INDEX, mask_tokens, non_special_tokens

TOKENS = 64
TOPICS = 4
WORDS = 14  # of a topic


class _KilledError(Exception):
    pass


def _mlm() -> ModuleType:
    return registry.declaration("methods", "mlm").load()


def _context(**changes: Any) -> Context:
    return Context(**{"random_root": "mlm-test", "device": CPU, **changes})


def _model(seed: int = 0) -> LanguageModel:
    """A language model in double precision whose every tensor is random."""
    model = LanguageModel(fake_text_backbone(seed), torch.Generator().manual_seed(1)).double().eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return model


def _ids() -> Tensor:
    """PreparedSuite texts of unequal length."""
    return torch.from_numpy(fake_texts().x[::20]).long()


def _masked(probability: float = 0.3) -> tuple[Tensor, Tensor]:
    vocabulary = fake_text_backbone().vocabulary
    assert vocabulary is not None
    ordinary = non_special_tokens(_ids(), vocabulary)
    return mask_tokens(_ids(), vocabulary, ordinary, probability, torch.Generator().manual_seed(0))


def _corpus(count: int, seed: int) -> Split:
    """Texts of one topic each, whose words are as likely as any other's: context alone tells them."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, 24), np.int32)
    for row in x:
        size = rng.integers(8, 23)
        row[: size + 2] = [2, *(5 + WORDS * rng.integers(TOPICS) + rng.integers(0, WORDS, size)), 3]
    return Split(x, None, np.arange(count))


def _mean(model: nn.Module, batches: list[MaskedBatch]) -> float:
    """Mean loss of all selected tokens."""
    with torch.no_grad():
        losses = [cross_entropy(model(b.ids, b.rows, b.columns), b.tokens, reduction="none") for b in batches]
    return torch.cat(losses).mean().item()


def test_before_training_no_token_is_likelier_than_another() -> None:
    model = LanguageModel(fake_text_backbone(), torch.Generator().manual_seed(0)).eval()
    batches = MaskedBatches(fake_texts().x, model.backbone, 32, 0.3, _context(), "test")
    assert _mean(model, list(batches.epoch(0))) == pytest.approx(math.log(TOKENS), abs=0.05)


def test_logits_at_selected_positions_are_those_of_the_full_projection_and_so_are_the_gradients() -> None:
    model = _model()
    inputs, labels = _masked()
    rows, columns = (labels != IGNORE_INDEX).nonzero(as_tuple=True)
    own = cross_entropy(model(inputs, rows, columns), labels[rows, columns])
    table = model.backbone.body.embedding.weight
    logits = linear(model.transform(model.backbone.body.states(inputs)), table, model.bias)
    full = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX)
    assert own.item() == pytest.approx(full.item(), rel=1e-12)
    parameters = list(model.parameters())
    pairs = zip(torch.autograd.grad(own, parameters), torch.autograd.grad(full, parameters), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_the_loss_moves_no_hidden_state_but_those_of_selected_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the head's part: attention, below, does look at the others."""
    model = _model()
    inputs, labels = _masked()
    states = model.backbone.body.states(inputs).detach().requires_grad_()
    monkeypatch.setattr(model.backbone.body, "states", lambda ids: states)
    rows, columns = (labels != IGNORE_INDEX).nonzero(as_tuple=True)
    cross_entropy(model(inputs, rows, columns), labels[rows, columns]).backward()
    assert states.grad is not None
    moved = (states.grad != 0).any(-1)
    assert torch.equal(moved, labels != IGNORE_INDEX)


def test_the_decoder_is_the_token_table_itself() -> None:
    model = _model()
    table = model.backbone.body.embedding.weight
    wide = [name for name, p in model.named_parameters() if p.shape == table.shape]
    assert len(wide) == 1, "one table, in the backbone"
    assert wide[0].startswith("backbone.")
    assert {p.data_ptr() for name, p in model.named_parameters() if name in wide} == {table.data_ptr()}
    rows, columns = torch.tensor([0]), torch.tensor([1])
    ids = torch.tensor([[2, 7, 8, 3]])
    before = model(ids, rows, columns)
    with torch.no_grad():
        table[40] += 1  # no token of the text
    moved = (model(ids, rows, columns) != before)[0].nonzero().flatten().tolist()
    assert moved == [40]


def test_each_token_has_a_bias_of_its_own() -> None:
    model = _model()
    rows, columns = torch.tensor([0]), torch.tensor([1])
    before = model(_ids(), rows, columns)
    with torch.no_grad():
        model.bias[9] += 2
    torch.testing.assert_close(model(_ids(), rows, columns) - before, 2.0 * (torch.arange(TOKENS) == 9)[None].double())


def test_padding_does_not_move_the_logits_of_real_tokens() -> None:
    model = _model().float()
    inputs, labels = _masked()
    rows, columns = (labels != IGNORE_INDEX).nonzero(as_tuple=True)
    longer = nn.functional.pad(inputs, (0, 12))
    with torch.no_grad():
        torch.testing.assert_close(model(longer, rows, columns), model(inputs, rows, columns), rtol=0, atol=1e-5)


def test_the_heads_fresh_weights_are_those_of_its_generator() -> None:
    torch.manual_seed(1)
    first = LanguageModel(fake_text_backbone(), torch.Generator().manual_seed(0)).state_dict()
    torch.manual_seed(2)
    again = LanguageModel(fake_text_backbone(), torch.Generator().manual_seed(0)).state_dict()
    assert all(torch.equal(again[name], value) for name, value in first.items())


def test_one_batch_can_be_learnt_by_heart() -> None:
    model = LanguageModel(fake_text_backbone(), torch.Generator().manual_seed(0)).train()
    inputs, labels = _masked(0.15)
    rows, columns = (labels != IGNORE_INDEX).nonzero(as_tuple=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs, rows, columns), labels[rows, columns])
        loss.backward()
        optimizer.step()
    assert len(rows) > 10
    assert loss.item() < 0.05


def test_a_batch_is_shared_out_whole_and_every_text_comes_once() -> None:
    backbone, texts = fake_text_backbone(), fake_texts().x[:99]
    whole = list(MaskedBatches(texts, backbone, 16, 0.15, _context(), "test").epoch(3))
    assert sum(len(batch.ids) for batch in whole) == 99
    assert sum(batch.selected for batch in whole) == sum(len(batch.tokens) for batch in whole)
    shards = [
        list(MaskedBatches(texts, backbone, 16, 0.15, _context(group=ProcessGroup(rank, 3)), "test").epoch(3))
        for rank in range(3)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert torch.equal(torch.cat([part.ids for part in parts]), batch.ids), "and so all are as wide"
        assert torch.equal(torch.cat([part.tokens for part in parts]), batch.tokens)
        assert {part.selected for part in parts} == {batch.selected} == {len(batch.tokens)}
        sizes = [len(part.ids) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        rows = torch.cat([part.rows + start for part, start in zip(parts, starts, strict=True)])
        assert torch.equal(rows, batch.rows)
        assert torch.equal(torch.cat([part.columns for part in parts]), batch.columns)


def test_a_random_token_is_one_that_a_text_holds_and_no_row_of_the_table_that_none_reaches() -> None:
    """Else a token would tell by itself that it is not the one that stood there."""
    texts = np.where(_corpus(100, 0).x >= 12, 12, _corpus(100, 0).x)
    backbone = fake_text_backbone()
    assert backbone.vocabulary is not None
    assert backbone.vocabulary.size == TOKENS
    replaced = []
    for rank in range(2):
        batches = MaskedBatches(texts, backbone, 16, 0.5, _context(group=ProcessGroup(rank, 2)), "test")
        for batch in (batch for epoch in range(4) for batch in batches.epoch(epoch)):
            became = batch.ids[batch.rows, batch.columns]
            replaced.append(became[(became != backbone.vocabulary.mask) & (became != batch.tokens)])
    counts = torch.bincount(torch.cat(replaced), minlength=TOKENS)
    assert set(counts.nonzero().flatten().tolist()) == set(texts.flatten().tolist()) - set(backbone.vocabulary.special)


def test_little_of_a_batch_is_padding() -> None:
    texts = _corpus(400, 0).x
    batches = list(MaskedBatches(texts, fake_text_backbone(), 16, 0.15, _context(), "test").epoch(0))
    longest = [int((batch.ids != 0).sum(1).max()) for batch in batches]
    assert all(batch.ids.shape[1] < length + 8 for batch, length in zip(batches, longest, strict=True))
    real = int((texts != 0).sum())
    assert sum(16 * length for length in longest) < 1.1 * real < 1.3 * real < texts.size


def test_masks_are_new_in_every_epoch_and_hide_what_the_labels_say() -> None:
    backbone, texts = fake_text_backbone(), fake_texts().x
    before = texts.copy()
    batches = MaskedBatches(texts, backbone, 200, 0.15, _context(), "test")
    seen = []
    for epoch in (0, 1, 0):
        (batch,) = batches.epoch(epoch)
        restored = batch.ids.clone()
        restored[batch.rows, batch.columns] = batch.tokens
        order = np.lexsort(restored.numpy().T[::-1])
        sorted_texts = before[np.lexsort(before.T[::-1])][:, : batch.ids.shape[1]]
        assert np.array_equal(restored.numpy()[order], sorted_texts)
        seen.append(torch.cat([batch.rows, batch.columns]))
    assert np.array_equal(texts, before)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.usefixtures("double")
def test_one_step_is_that_of_the_recipe_by_hand() -> None:
    """A clipped mean over the selected tokens, and decay of matrices only; plain gradient descent shows the scale."""
    corpus, mlm = _corpus(40, 0), _mlm()
    backbone = _model().backbone.train()
    twin = LanguageModel(copy.deepcopy(backbone), _context().generator("pretrain", "head"))
    config = mlm.Config(epochs=1, batch_size=40, lr=0.5, optimizer="sgd", weight_decay=0.1, mask_probability=0.3)
    mlm.pretrain(corpus, backbone, config, _context())
    (batch,) = MaskedBatches(corpus.x, backbone, 40, 0.3, _context(), "pretrain").epoch(0)
    cross_entropy(twin(batch.ids, batch.rows, batch.columns), batch.tokens).backward()
    norm = torch.stack([p.grad.square().sum() for p in twin.parameters() if p.grad is not None]).sum().sqrt()
    assert norm > 1, "this test needs a gradient that is clipped"
    for (name, after), before in zip(backbone.named_parameters(), twin.backbone.parameters(), strict=True):
        assert before.grad is not None
        decay = 0.1 * before.detach() if before.ndim > 1 else 0.0
        expected = before - 0.5 * (before.grad / norm + decay)
        torch.testing.assert_close(after, expected, rtol=1e-6, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")


def _gradients(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[Tensor]:
    """Gradients of the first step in one of several processes, before they are averaged and clipped."""
    mlm = _mlm()
    found: list[Tensor] = []

    def keep(parameters: Any, norm: float) -> None:
        found.extend(p.grad.clone() for p in parameters)
        raise _KilledError

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", keep)
    monkeypatch.setattr(Context, "wrap", lambda ctx, module: module)
    backbone = _model().backbone
    with pytest.raises(_KilledError):
        mlm.pretrain(_corpus(40, 0), backbone, mlm.Config(batch_size=9), _context(**changes))
    return found


@pytest.mark.usefixtures("double")
def test_processes_with_unequal_numbers_of_selected_tokens_average_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = _gradients(monkeypatch)
    shards = [_gradients(monkeypatch, group=ProcessGroup(rank, 2)) for rank in range(2)]
    counts = [
        len(next(MaskedBatches(_corpus(40, 0).x, fake_text_backbone(), 9, 0.15, ctx, "pretrain").epoch(0)).tokens)
        for ctx in (_context(group=ProcessGroup(rank, 2)) for rank in range(2))
    ]
    assert counts[0] != counts[1], "this test needs unequal shards"
    for own, first, second in zip(alone, *shards, strict=True):
        torch.testing.assert_close((first + second) / 2, own, rtol=1e-9, atol=1e-12)


def test_losses_are_in_single_precision_and_dropout_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    mlm, seen = _mlm(), set()
    backbone = fake_text_backbone().eval()

    def watched(logits: Tensor, *rest: Any, **more: Any) -> Tensor:
        seen.add((logits.dtype, backbone.training))
        return cross_entropy(logits, *rest, **more)

    monkeypatch.setattr(mlm, "cross_entropy", watched)
    mlm.pretrain(_corpus(20, 0), backbone, mlm.Config(epochs=2), _context(precision="bfloat16"))
    assert seen == {(torch.float32, True)}


def test_the_rate_falls_in_a_straight_line_and_the_optimiser_is_berts(monkeypatch: pytest.MonkeyPatch) -> None:
    mlm, seen = _mlm(), []
    make = mlm.make_optimizer

    def watched(*parts: Any) -> torch.optim.Optimizer:
        optimizer = make(*parts)
        optimizer.register_step_pre_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
        assert isinstance(optimizer, torch.optim.AdamW)
        assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}
        return optimizer

    monkeypatch.setattr(mlm, "make_optimizer", watched)
    mlm.pretrain(
        _corpus(40, 0), fake_text_backbone(), mlm.Config(epochs=5, batch_size=20, lr=1e-3, warmup=0.2), _context()
    )
    expected = [0.5, 1.0, *((10 - step) / 8 for step in range(2, 10))]
    assert seen == pytest.approx([1e-3 * factor for factor in expected])


def test_texts_without_a_token_to_ask_for_cost_nothing_and_break_nothing() -> None:
    mlm, backbone = _mlm(), fake_text_backbone()
    x = np.tile(np.array([2, 3, 0, 0], np.int32), (8, 1))
    ctx = _context()
    mlm.pretrain(Split(x, None, np.arange(8)), backbone, mlm.Config(epochs=2, batch_size=4), ctx)
    assert ctx.curves["train_loss"] == [(0, 0.0), (1, 0.0)]
    assert ctx.notes == ["no token was asked for in the texts, so nothing was learnt without labels"]
    assert all(p.isfinite().all() for p in backbone.parameters())


def test_held_out_texts_are_told_better_than_by_how_often_words_come(monkeypatch: pytest.MonkeyPatch) -> None:
    mlm, backbone, ctx = _mlm(), fake_text_backbone(), _context()
    models: list[LanguageModel] = []
    monkeypatch.setattr(mlm, "LanguageModel", lambda *parts: models.append(LanguageModel(*parts)) or models[-1])
    mlm.pretrain(_corpus(400, 0), backbone, mlm.Config(epochs=12, lr=2e-3), ctx)
    held_out = list(MaskedBatches(_corpus(200, 1).x, backbone, 50, 0.15, ctx, "held out").epoch(0))
    counts = torch.bincount(torch.from_numpy(_corpus(400, 0).x).flatten(), minlength=TOKENS).double() + 1
    unigram = (counts / counts[5:].sum()).log()
    unigram_loss = -torch.cat([unigram[batch.tokens] for batch in held_out]).mean().item()
    assert unigram_loss == pytest.approx(math.log(TOPICS * WORDS), abs=0.05)
    assert _mean(models[0].eval(), held_out) < unigram_loss - 0.7, "the topic alone is worth ln 4 = 1.39"
    assert ctx.notes == []
    losses = [value for _, value in ctx.curves["train_loss"]]
    assert losses[0] == pytest.approx(math.log(TOKENS), abs=0.2)
    assert losses[-1] < unigram_loss - 0.7


def test_a_recipe_reads_no_label_and_leaves_nothing_of_its_head() -> None:
    assert registry.declaration("methods", "mlm").constants.READS_LABELS is False

    class Unlabelled(Split):
        @property
        def labels(self) -> Any:
            raise AssertionError("labels were read")

    mlm, backbone = _mlm(), fake_text_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    corpus = _corpus(32, 0)
    mlm.pretrain(Unlabelled(corpus.x, None, corpus.rows), backbone, mlm.Config(epochs=1), _context())
    after = backbone.state_dict()
    assert after.keys() == before.keys()
    assert not any(torch.equal(after[name], value) for name, value in before.items() if "weight" in name)


def test_on_a_task_all_its_texts_are_read_and_no_label_before_the_labels_are_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlm = _mlm()
    read: list[Any] = []
    found: list[dict[str, Tensor]] = []

    def batches(texts: Any, *rest: Any) -> MaskedBatches:
        read.append(texts)
        return MaskedBatches(texts, *rest)

    def stop(task: Any, backbone: Backbone, *rest: Any) -> Any:
        found.append({name: value.clone() for name, value in backbone.state_dict().items()})
        raise _KilledError

    monkeypatch.setattr(mlm, "MaskedBatches", batches)
    monkeypatch.setattr(mlm, "train_downstream", stop)
    case = Case("mlm", "classification", backbone=fake_text_backbone)
    with pytest.raises(_KilledError):
        run(case, tmp_path / "1")

    def scrambled(*parts: Any, **more: Any) -> Any:
        fake = fake_task(*parts, **more)
        train = Split(fake.task.train.x, np.roll(fake.task.train.labels, 7), fake.task.train.rows)
        return replace(fake, task=replace(fake.task, train=train))

    monkeypatch.setattr(contract, "fake_task", scrambled)
    with pytest.raises(_KilledError):
        run(case, tmp_path / "2")
    assert all(torch.equal(found[1][name], value) for name, value in found[0].items())
    fake = fake_task("classification", "text")
    parts = [fake.task.train, fake.task.val, fake.task.unlabeled]
    assert [len(texts) for texts in read] == [sum(len(part) for part in parts if part is not None)] * 2
    assert {tuple(text) for text in read[0]} == {tuple(text) for part in parts if part for text in part.x}


def test_a_task_is_resumed_bit_for_bit_while_its_labels_are_learnt(tmp_path: Path) -> None:
    case = Case("mlm", "classification", fake_text_backbone, params={"epochs": 2, "tune_epochs": 4})
    straight = run(case, tmp_path / "straight")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def kill(done: int, total: int) -> None:
        if (done, total) == (3, 4):
            raise _KilledError

    with pytest.raises(_KilledError):
        run(case, tmp_path / "killed", checkpoints=Checkpoints(scratch, interval=0.0), on_epoch=kill)
    assert {file.name for file in scratch.iterdir()} == {"pretrain.ckpt", "fit.ckpt"}
    resumed = run(case, tmp_path / "again", checkpoints=Checkpoints(scratch, interval=0.0))
    assert torch.equal(resumed.logits, straight.logits)
    assert resumed.ctx.curves == straight.ctx.curves
    assert {name: len(curve) for name, curve in straight.ctx.curves.items()} == {
        "pretrain_loss": 2, "train_loss": 4, "val_accuracy": 4, "val_nll": 4
    }  # fmt: skip
