"""The training loop against steps made by hand, and what it must leave alone."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tlbench.backbones.backbone import Backbone, BodyParts
from tlbench.core.config import Optimizer, Schedule, TrainingConfig
from tlbench.core.info import BackboneInfo
from tlbench.data.dataset import Split
from tlbench.testing.fakes import CPU, FakeTask, fake_backbone, fake_task
from tlbench.training import supervised_loop as loop
from tlbench.training.augmentation.policy import UNCHANGED, Augmentation
from tlbench.training.batches import Batch, Batches, Examples
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.evaluation import evaluate
from tlbench.training.parameter_groups import ParameterGroup, parameter_groups, scale_rates
from tlbench.training.process_group import ProcessGroup
from tlbench.training.schedules import rate_factor
from tlbench.training.supervised_loop import LoopOptions, smoothed_cross_entropy, train_classifier
from tlbench.training.validation_scores import score_logits

Recipe = partial(TrainingConfig, epochs=3, batch_size=16)


def _groups(model: Classifier, lr: float, multiplier: float, decay: float) -> list[ParameterGroup]:
    parts = [(model.backbone.parameters(), lr), (model.head.parameters(), lr * multiplier)]
    return parameter_groups(parts, decay)


@pytest.fixture(scope="module")
def fake() -> FakeTask:
    return fake_task("classification")


def _context(**changes: object) -> Context:
    return Context(**{"random_root": "loop-test", "device": CPU, **changes})  # type: ignore[arg-type]


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_no_rate_and_no_decay_leave_every_parameter_as_it_was(fake: FakeTask, optimizer: Optimizer) -> None:
    model = Classifier(fake_backbone(), 10)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = _groups(model, 0.0, 10, 0.0)
    train_classifier(model, groups, fake.task.train, None, Recipe(optimizer=optimizer), _context())
    assert [name for name, p in model.named_parameters() if not torch.equal(p, before[name])] == []


def test_one_step_of_sgd_is_minus_rate_times_gradient(fake: FakeTask) -> None:
    model = Classifier(fake_backbone(), 10)
    nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    model = model.double()  # in single precision the order of a batch decides which way a near tie of max-pooling goes
    twin = copy.deepcopy(model)
    recipe = Recipe(epochs=1, batch_size=1000, optimizer="sgd", warmup=0.0)
    train_classifier(model, _groups(model, 0.1, 3.0, 0.0), fake.task.train, None, recipe, _context())
    x, y = torch.from_numpy(fake.task.train.x), torch.from_numpy(fake.task.train.labels)
    twin.train()
    cross_entropy(twin(x), y).backward()
    for (name, after), before in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert before.grad is not None
        rate = 0.3 if name.startswith("head") else 0.1
        torch.testing.assert_close(after, before - rate * before.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("share", [0.1, 10.0])
def test_the_gradient_of_a_step_has_at_most_the_norm_that_it_may_have(fake: FakeTask, share: float) -> None:
    start = Classifier(fake_backbone(), 10).double()
    nn.init.normal_(start.head.weight, generator=torch.Generator().manual_seed(0))
    steps = []
    for clip in (None, 1.0):
        model = copy.deepcopy(start)
        if clip is not None:
            clip = share * steps[0]
        recipe = Recipe(epochs=1, batch_size=1000, optimizer="sgd", warmup=0.0, clip_norm=clip)
        train_classifier(model, _groups(model, 0.1, 1.0, 0.0), fake.task.train, None, recipe, _context())
        moved = [(p - q).square().sum() for p, q in zip(model.parameters(), start.parameters(), strict=True)]
        steps.append(float(torch.stack(moved).sum().sqrt()) / 0.1)
    assert steps[1] == pytest.approx(min(share, 1.0) * steps[0], rel=1e-4)


def test_the_returned_model_is_the_best_one_and_scores_exactly_what_was_logged(fake: FakeTask) -> None:
    model, ctx = Classifier(fake_backbone(), 10), _context()
    assert fake.task.val is not None
    groups = _groups(model, 3.0, 1.0, 0.0)  # a rate so large that the last epochs are worse than earlier ones
    recipe = Recipe(epochs=12, optimizer="sgd", warmup=0.95)
    train_classifier(model, groups, fake.task.train, fake.task.val, recipe, ctx)
    accuracy = [value for _, value in ctx.curves["val_accuracy"]]
    nll = [value for _, value in ctx.curves["val_nll"]]
    best = max(range(12), key=lambda epoch: (accuracy[epoch], -nll[epoch]))
    assert best < 11, "this test needs a last epoch that is not the best"
    assert ctx.selected == {"augment": "none", "epoch": best}
    assert ctx.validation == {"accuracy": accuracy[best], "nll": nll[best]}
    again = evaluate(model, Examples(fake.task.val, CPU), ctx)
    assert (again.accuracy, again.nll) == (accuracy[best], nll[best])


def test_frozen_batch_norm_keeps_its_statistics_and_train_moves_them(fake: FakeTask) -> None:
    for policy, moved in (("frozen", False), ("train", True)):
        model = Classifier(fake_backbone(), 10)
        before = {name: b.clone() for name, b in model.named_buffers()}
        groups = _groups(model, 1e-3, 1.0, 0.0)
        train_classifier(
            model, groups, fake.task.train, fake.task.val, Recipe(), _context(), LoopOptions(batch_norm=policy)
        )  # type: ignore[arg-type]
        changed = [name for name, b in model.named_buffers() if not torch.equal(b, before[name])]
        assert bool(changed) is moved


def test_training_a_head_on_a_frozen_body_equals_training_it_on_cached_features(fake: FakeTask) -> None:
    model = Classifier(fake_backbone(), 10)
    model.backbone.requires_grad_(False)
    with torch.no_grad():
        z = model.backbone.eval()(torch.from_numpy(fake.task.train.x)).numpy()
    body = nn.Identity()
    info = BackboneInfo("cached", "test", "image", "cached", {"weights": {"kind": "random"}})
    cached = Classifier(Backbone(info, nn.Identity(), body, z.shape[1], BodyParts([], [])), 10)
    features = Split(z, fake.task.train.y, fake.task.train.rows)
    for net, split in ((model, fake.task.train), (cached, features)):
        groups = _groups(net, 1e-2, 1.0, 1e-2)
        train_classifier(net, groups, split, None, Recipe(epochs=5), _context(), LoopOptions(batch_norm="frozen"))
    torch.testing.assert_close(model.head.weight, cached.head.weight, rtol=1e-4, atol=1e-6)
    assert model.head.weight.abs().max() > 0.01


def test_a_run_killed_after_any_epoch_continues_bit_for_bit(fake: FakeTask, tmp_path: Path) -> None:
    recipe = Recipe(epochs=4, augment="shift")

    def train(ctx: Context) -> dict[str, torch.Tensor]:
        model = Classifier(fake_backbone(), 10)
        train_classifier(model, _groups(model, 1e-2, 1.0, 1e-2), fake.task.train, fake.task.val, recipe, ctx)
        return _state(model)

    straight = _context()
    expected = train(straight)
    for end in (2, 3, 4):
        folder = tmp_path / str(end)
        folder.mkdir()

        def kill(done: int, total: int, end: int = end) -> None:
            if done == end:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            train(_context(checkpoints=Checkpoints(folder, interval=0.0), on_epoch=kill))
        resumed = _context(checkpoints=Checkpoints(folder, interval=0.0))
        found = train(resumed)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert resumed.curves == straight.curves
        assert resumed.validation == straight.validation


def test_patience_stops_early(fake: FakeTask) -> None:
    model, ctx = Classifier(fake_backbone(), 10), _context()
    groups = _groups(model, 0.0, 1.0, 0.0)
    train_classifier(
        model,
        groups,
        fake.task.train,
        fake.task.val,
        Recipe(epochs=30, patience=2),
        ctx,
        LoopOptions(batch_norm="frozen"),
    )
    assert [step for step, _ in ctx.curves["val_accuracy"]] == [0, 1, 2]
    assert ctx.selected == {"augment": "none", "epoch": 0}


def test_the_logged_loss_is_the_mean_over_all_examples(fake: FakeTask) -> None:
    model, ctx = Classifier(fake_backbone(), 10), _context()
    train_classifier(model, _groups(model, 0.0, 1.0, 0.0), fake.task.train, None, Recipe(epochs=1), ctx)
    assert ctx.curves["train_loss"] == [(0, pytest.approx(np.log(10), rel=1e-6))]


def test_evaluation_covers_every_example_once_whatever_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(601, 4, generator=generator)
    y = torch.randint(0, 4, (601,), generator=generator)
    found = evaluate(nn.Identity(), Examples(Split(x.numpy(), y.numpy(), np.arange(601)), CPU), _context())
    expected = score_logits(x, y)
    assert found.accuracy == (x.argmax(1) == y).double().mean().item() == expected.accuracy
    assert found.nll == pytest.approx(cross_entropy(x.double(), y).item(), abs=1e-12)
    assert found.nll == pytest.approx(expected.nll, abs=1e-12)


@pytest.mark.parametrize(("count", "size"), [(33, 32), (64, 32), (5, 4), (100, 7)])
def test_batches_hold_every_example_once_and_none_is_tiny(count: int, size: int) -> None:
    split = Split(np.arange(count)[:, None], np.zeros(count, np.int64), np.arange(count))
    batches = Batches(Examples(split, CPU), size, UNCHANGED, _context(), "fit")
    seen = [batch.x.flatten() for batch in batches.epoch(0)]
    assert sorted(torch.cat(seen).tolist()) == list(range(count))
    assert len(seen) == batches.count == -(-count // size)
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    assert min(map(len, seen)) > 1
    other = torch.cat([batch.x.flatten() for batch in batches.epoch(1)])
    assert not torch.equal(other, torch.cat(seen))


def test_shards_of_all_processes_make_up_the_batches_of_one(fake: FakeTask) -> None:
    def batches(**place: int) -> list[Batch]:
        examples = Examples(fake.task.train, CPU)
        return list(Batches(examples, 16, Augmentation("shift_flip"), _context(**place), "fit").epoch(2))

    whole, shards = batches(), [batches(group=ProcessGroup(rank, 3)) for rank in range(3)]
    for step, batch in enumerate(whole):
        assert batch.size == len(batch.x)
        assert all(shard[step].size == batch.size for shard in shards)
        for field in ("rows", "x", "y"):
            pieces = [getattr(shard[step], field) for shard in shards]
            assert torch.equal(torch.cat(pieces), getattr(batch, field))
        assert torch.equal(torch.from_numpy(fake.task.train.labels)[batch.rows], batch.y)


def test_label_smoothing_reaches_the_loss(fake: FakeTask) -> None:
    losses = []
    for smoothing in (0.0, 0.1):
        model, ctx = Classifier(fake_backbone(), 10), _context()
        groups = _groups(model, 3e-2, 1.0, 0.0)
        train_classifier(model, groups, fake.task.train, None, Recipe(epochs=8, smoothing=smoothing), ctx)
        losses.append(ctx.curves["train_loss"][-1][1])
    assert losses[1] > losses[0] + 0.1


def test_a_layer_whose_scale_is_frozen_keeps_its_statistics_while_others_move(fake: FakeTask) -> None:
    model = Classifier(fake_backbone(), 10)
    model.backbone.body.get_submodule("block2").requires_grad_(False)
    before = {name: b.clone() for name, b in model.named_buffers()}
    train_classifier(model, _groups(model, 1e-3, 1.0, 0.0), fake.task.train, None, Recipe(epochs=1), _context())
    changed = {name for name, b in model.named_buffers() if not torch.equal(b, before[name])}
    assert {name for name in before if "block2" in name}.isdisjoint(changed)
    assert {name for name in before if "block2" not in name} - {
        "backbone.prepare.mean",
        "backbone.prepare.std",
    } == changed


@pytest.mark.parametrize("schedule", ["cosine", "slanted_triangular", "one_cycle"])
def test_rates_follow_the_schedule_step_by_step(
    fake: FakeTask, schedule: Schedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors: list[float] = []

    def note(optimizer: torch.optim.Optimizer, factor: float) -> None:
        scale_rates(optimizer, factor)
        factors.append(factor)

    monkeypatch.setattr(loop, "scale_rates", note)
    model = Classifier(fake_backbone(), 10)
    recipe = Recipe(epochs=3, schedule=schedule, warmup=0.3)
    train_classifier(model, _groups(model, 1e-3, 1.0, 0.0), fake.task.train, None, recipe, _context())
    steps = 3 * -(-len(fake.task.train) // recipe.batch_size)
    assert len(factors) == steps > 3
    assert factors == [rate_factor(schedule, step, steps, 0.3) for step in range(steps)]


def test_in_mixed_precision_the_network_runs_in_bfloat16_and_the_loss_in_single(fake: FakeTask) -> None:
    model, seen = Classifier(fake_backbone(), 10), []
    model.head.register_forward_hook(lambda module, args, out: seen.append(out.dtype) if module.training else None)

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        assert logits.dtype == torch.float32
        return smoothed_cross_entropy(logits, batch.y, 0.0)

    recipe, ctx = Recipe(epochs=2, weight_decay=0.0), _context(precision="bfloat16")
    train_classifier(
        model, _groups(model, 1e-2, 1.0, 0.0), fake.task.train, fake.task.val, recipe, ctx, LoopOptions(loss=loss)
    )
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    plain = _context()
    twin = Classifier(fake_backbone(), 10)
    train_classifier(twin, _groups(twin, 1e-2, 1.0, 0.0), fake.task.train, fake.task.val, recipe, plain)
    for (_, low), (_, full) in zip(ctx.curves["train_loss"], plain.curves["train_loss"], strict=True):
        assert low == pytest.approx(full, rel=0.05)
    assert ctx.curves["train_loss"] != plain.curves["train_loss"]


def test_a_penalty_is_added_to_the_mean_loss_of_every_step(fake: FakeTask) -> None:
    """With a penalty c/2 |w|^2, one step of plain descent from the same gradient ends c * rate * w lower."""
    ends = []
    for penalty in (None, lambda model: 0.5 * 0.3 * model.head.weight.square().sum()):
        model = Classifier(fake_backbone(), 10)
        nn.init.ones_(model.head.weight)
        recipe = Recipe(epochs=1, batch_size=1000, optimizer="sgd", warmup=0.0)
        train_classifier(
            model,
            _groups(model, 0.1, 1.0, 0.0),
            fake.task.train,
            None,
            recipe,
            _context(),
            LoopOptions(penalty=None if penalty is None else partial(penalty, model)),
        )
        ends.append(model.head.weight.detach())
    torch.testing.assert_close(ends[0] - ends[1], torch.full_like(ends[0], 0.1 * 0.3))
