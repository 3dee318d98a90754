"""The loop over two domains: streams without end, one forward pass, schedules by step, proposals, resume."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.core.config import AdaptationConfig
from tlbench.data.dataset import Task
from tlbench.testing.fakes import CPU, fake_backbone, fake_task
from tlbench.training.adaptation.adaptation_loop import (
    AdaptationStep,
    DomainOptions,
    domain_augmentation,
    supervised_loss,
    train_on_domains,
)
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.schedules import inverse_decay


@pytest.fixture(scope="module")
def task() -> Task:
    """A source of 100 images and a target of 100."""
    return fake_task("adaptation").task


def shorter(task: Task, part: str, count: int) -> Task:
    """Return the task with only every n-th example of a part."""
    split = getattr(task, part)
    keep = np.linspace(0, len(split) - 1, count).astype(int)
    y = None if split.y is None else split.y[keep]
    return replace(task, **{part: type(split)(split.x[keep], y, split.rows[keep])})


def network(width: int | None = 12) -> BottleneckClassifier:
    torch.manual_seed(1)
    model = BottleneckClassifier(fake_backbone(), 10, width)
    nn.init.normal_(model.head.weight)
    return model


def settings(**params: Any) -> AdaptationConfig:
    return AdaptationConfig(**{"steps": 6, "checks": 2, "batch_size": 16, **params})


def context(**changes: Any) -> Context:
    return Context(**{"random_root": "adapting", "device": CPU, **changes})


def train(
    task: Task,
    cfg: AdaptationConfig,
    loss: Callable[[AdaptationStep], dict[str, Tensor]] | None = None,
    model: BottleneckClassifier | None = None,
    ctx: Context | None = None,
    **how: Any,
) -> tuple[BottleneckClassifier, list[AdaptationStep], Context]:
    """Train and return the model and all steps that the loss was asked about."""
    model, ctx, steps = model or network(), ctx or context(), []

    def watched(step: AdaptationStep) -> dict[str, Tensor]:
        steps.append(step)
        return (loss or (lambda step: {"loss": supervised_loss(step)}))(step)

    train_on_domains(model, model.groups(cfg), task, cfg, ctx, watched, DomainOptions(**how))
    return model, steps, ctx


def test_streams_go_on_without_regard_to_each_other(task: Task) -> None:
    """A short target begins anew while the source is still in its first pass; neither stops the other."""
    _, steps, _ = train(shorter(task, "unlabeled", 40), settings(steps=14, checks=1))
    source, target = ([getattr(step, part).rows.tolist() for step in steps] for part in ("source", "target"))
    assert {len(rows) for rows in source + target} == {16}
    for rows, each in ((source, 100 // 16), (target, 40 // 16)):
        for start in range(0, len(rows) - each + 1, each):
            one_pass = [row for batch in rows[start : start + each] for row in batch]
            assert len(set(one_pass)) == len(one_pass), "a pass takes no example twice, and drops what is left"
        assert rows[0] != rows[each], "each pass has its own order"
    assert len({row for rows in source for row in rows}) > 90
    assert {row for rows in target for row in rows} == set(range(40))


def test_a_small_domain_gives_all_it_has(task: Task) -> None:
    _, steps, _ = train(shorter(task, "unlabeled", 7), settings())
    assert [(len(step.source.rows), len(step.target.rows)) for step in steps] == [(16, 7)] * 6
    assert all(sorted(step.target.rows.tolist()) == list(range(7)) for step in steps)


@pytest.mark.parametrize(("reads", "sizes"), [(("source", "shots", "target"), (16, 11, 9)), (("source",), (16, 0, 0))])
def test_answers_are_taken_apart_by_size(task: Task, reads: Any, sizes: tuple[int, ...]) -> None:
    """Under frozen running statistics an answer depends on its own example alone."""
    task = shorter(shorter(fake_task("adaptation", shots=5).task, "train", 11), "unlabeled", 9)
    model = network()
    untrained = copy.deepcopy(model).eval()
    _, steps, _ = train(task, settings(steps=1, checks=1), model=model, parts=reads, batch_norm="frozen")
    (step,) = steps
    splits = {"source": task.source, "shots": task.train, "target": task.unlabeled}
    for (part, split), size in zip(splits.items(), sizes, strict=True):
        found = getattr(step, part)
        assert len(found.rows) == len(found.y) == len(found.z) == len(found.logits) == size
        assert split is not None
        x = torch.from_numpy(split.x)[found.rows]
        with torch.no_grad():
            torch.testing.assert_close(found.z.detach(), untrained.encode(x), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(found.logits.detach(), untrained(x), rtol=1e-4, atol=1e-5)
        expected = np.full(size, -1) if split.y is None else split.y[found.rows]
        np.testing.assert_array_equal(found.y, expected)
    assert step.source.z.shape[1] == 12


def test_one_forward_pass_over_all_that_is_read(task: Task) -> None:
    for reads, size in ((("source", "target"), 32), (("source",), 16), (("target",), 16)):
        model, sizes = network(), []
        model.backbone.register_forward_hook(lambda module, args, out, into=sizes: into.append(len(out)))
        train(task, settings(), lambda step: {"loss": step.target.z.sum() + step.source.z.sum()}, model, parts=reads)
        assert sizes == [size] * 6


def test_it_is_the_plain_loop(task: Task) -> None:
    """SGD with momentum, rates that fall as (1 + 10 p)^-0.75 by step, decay of matrices only, written out by hand."""
    task = fake_task("adaptation", shots=2).task
    cfg = settings(lr=0.02, weight_decay=0.1)
    plain = network()
    model, steps, _ = train(
        task, cfg, lambda step: {"a": supervised_loss(step), "b": 0.3 * step.target.z.square().mean()}
    )
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9)
    assert task.source is not None
    assert task.unlabeled is not None
    plain.train()
    for number, step in enumerate(steps):
        parts = [(task.source, step.source), (task.train, step.shots), (task.unlabeled, step.target)]
        z = plain.encode(torch.cat([torch.from_numpy(split.x)[taken.rows] for split, taken in parts]))
        logits = plain.head(z)
        source, shots, _ = logits.split([16, 16, 16])
        labels = [torch.from_numpy(split.labels)[taken.rows] for split, taken in parts[:2]]
        loss = (cross_entropy(source, labels[0]) + cross_entropy(shots, labels[1])) / 2
        loss = loss + 0.3 * z[32:].square().mean()
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 + 10 * number / 6) ** -0.75
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for (name, ours), theirs in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)


def test_schedules() -> None:
    assert inverse_decay(0) == 1
    assert inverse_decay(1) == pytest.approx(11**-0.75)
    assert inverse_decay(0.3) == pytest.approx(4**-0.75)


def test_progress_is_by_step(task: Task) -> None:
    _, steps, _ = train(task, settings(steps=5, checks=2))
    assert [step.progress for step in steps] == [0, 0.2, 0.4, 0.6, 0.8]


def test_losses_are_logged_term_by_term(task: Task) -> None:
    terms = []

    def loss(step: AdaptationStep) -> dict[str, Tensor]:
        terms.append((supervised_loss(step), step.target.z.mean()))
        return {"loss": terms[-1][0], "pull": terms[-1][1]}

    _, _, ctx = train(task, settings(steps=5, checks=2), loss)
    for name, place in (("train_loss", 0), ("train_pull", 1)):
        values = [pair[place].item() for pair in terms]
        assert [step for step, _ in ctx.curves[name]] == [2, 5]
        assert [v for _, v in ctx.curves[name]] == pytest.approx([np.mean(values[:2]), np.mean(values[2:])], rel=1e-5)


@pytest.mark.parametrize(
    ("steps", "checks", "before", "at"), [(7, 3, 0, [2, 4, 7]), (3, 10, 0, [1, 2, 3]), (4, 2, 10, [12, 14])]
)
def test_models_are_proposed_at_equal_distances(
    task: Task, steps: int, checks: int, before: int, at: list[int]
) -> None:
    proposed: list[tuple[int, dict[str, Tensor]]] = []

    def note(step: int, model: Any) -> None:
        proposed.append((step, copy.deepcopy(model.state_dict())))
        model.eval()

    model, seen, _ = train(
        task, settings(steps=steps, checks=checks), ctx=context(on_candidate=note), first_step=before
    )
    assert [step for step, _ in proposed] == at
    assert len(seen) == steps
    assert all(torch.equal(value, proposed[-1][1][name]) for name, value in model.state_dict().items())
    silent, _, _ = train(
        task, settings(steps=steps, checks=checks), ctx=context(on_candidate=note), adds_candidates=False
    )
    assert len(proposed) == len(at)
    assert all(torch.equal(value, silent.state_dict()[name]) for name, value in model.state_dict().items())


class Pull(nn.Module):
    """Something trained beside the classifier, with batch statistics and dropout of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))

    def loss(self, step: AdaptationStep) -> dict[str, Tensor]:
        assert self.training
        return {"loss": supervised_loss(step), "pull": step.progress * self.layers(step.target.z).square().mean()}


def adversarial(task: Task, **changes: Any) -> tuple[BottleneckClassifier, Pull, Context]:
    model, pull, ctx = network(), Pull(), context(**changes)
    cfg = settings(steps=8, checks=4)
    train_on_domains(
        model, model.groups(cfg, pull.parameters()), task, cfg, ctx, pull.loss, DomainOptions(auxiliary=pull)
    )
    return model, pull, ctx


def test_what_is_trained_beside_the_classifier_is_trained_and_resumed(task: Task, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise KilledError

    model, pull, straight = adversarial(task)
    assert not torch.equal(pull.layers[0].weight, Pull().layers[0].weight)
    with pytest.raises(KilledError):
        adversarial(task, checkpoints=Checkpoints(tmp_path, interval=0.0), on_epoch=kill)
    again, resumed, ctx = adversarial(task, checkpoints=Checkpoints(tmp_path, interval=0.0))
    assert ctx.curves == straight.curves
    for ours, theirs in ((again, model), (resumed, pull)):
        state = theirs.state_dict()
        assert [name for name, value in ours.state_dict().items() if not torch.equal(value, state[name])] == []


def test_what_is_trained_must_be_in_a_group(task: Task) -> None:
    model, pull = network(), Pull()
    with pytest.raises(ValueError, match=r"in no group: \['auxiliary\.layers"):
        train_on_domains(
            model, model.groups(settings()), task, settings(), context(), pull.loss, DomainOptions(auxiliary=pull)
        )


def test_images_are_moved_where_that_is_asked_for(task: Task) -> None:
    seen: dict[str, list[Tensor]] = {"none": [], "shift": []}
    for augment, into in seen.items():
        model = network()
        model.backbone.register_forward_pre_hook(lambda module, args, into=into: into.append(args[0].clone()))
        train(task, settings(augment=augment, steps=3, checks=1), model=model)
    for step, (still, moved) in enumerate(zip(*seen.values(), strict=True)):
        assert still.shape == moved.shape
        changed = (still != moved).flatten(1).any(1)
        assert changed[:16].float().mean() > 0.5, step
        assert changed[16:].float().mean() > 0.5, step


def test_photographs_are_cropped_or_flipped_in_both_domains_and_characters_are_not(task: Task) -> None:
    """Whatever the parts that a method reads: a step on the source alone moves it in the same way."""
    auto = settings(augment="auto")

    def moves(given: Task, cfg: AdaptationConfig, **known: bool) -> str:
        return domain_augmentation(given, cfg, replace(context(), **known)).moves

    assert moves(task, settings()) == "none"
    assert moves(task, auto) == "none"
    named = replace(task, info=replace(task.info, dataset=replace(task.info.dataset, classes=("dog", "cat"))))
    assert moves(named, auto) == "none"

    def coloured(split: Any) -> Any:
        x = np.repeat(split.x, 3, 1)
        x[:, 1] //= 2
        return type(split)(x, split.y, split.rows)

    assert task.source is not None
    assert task.unlabeled is not None
    grey = type(task.unlabeled)(np.repeat(task.unlabeled.x, 3, 1), None, task.unlabeled.rows)
    photographs = replace(named, source=coloured(task.source), unlabeled=grey)
    assert moves(photographs, auto) == "shift_flip"
    assert moves(photographs, auto, characters=True) == "none"
    assert moves(photographs, settings(augment="affine")) == "affine"


@pytest.mark.parametrize("width", [12, None])
def test_rates_and_cover(width: int | None) -> None:
    """A backbone of given weights moves slowly; one of random weights has nothing to keep."""
    model, cfg = network(width), settings(lr=0.5, backbone_multiplier=0.1, weight_decay=0.2)
    own = {id(p) for p in model.backbone.parameters()}

    def rates() -> tuple[set[float], set[float]]:
        groups = model.groups(cfg)
        parameters = [(id(p), group["lr"]) for group in groups for p in group["params"]]
        assert len(parameters) == len(list(model.parameters()))
        return {lr for at, lr in parameters if at in own}, {lr for at, lr in parameters if at not in own}

    assert rates() == ({0.5}, {0.5})
    recipe = {**model.backbone.info.recipe, "weights": {"kind": "pretrain"}}
    model.backbone.info = replace(model.backbone.info, recipe=recipe)
    assert rates() == ({0.05}, {0.5})
    assert model.out_dim == (width or model.backbone.out_dim)


def test_double_precision_stays(task: Task) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        _, steps, _ = train(task, settings(steps=1, checks=1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert steps[0].source.z.dtype == steps[0].target.logits.dtype == torch.float64
    _, steps, _ = train(task, settings(steps=1, checks=1), ctx=context(precision="bfloat16"))
    assert steps[0].source.z.dtype == steps[0].target.logits.dtype == torch.float32
