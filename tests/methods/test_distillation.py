"""Distillation: its losses against sums written out, and what the student does and does not learn from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from tlbench.backbones.backbone import Backbone
from tlbench.data.dataset import Split
from tlbench.plugins import registry
from tlbench.testing import contract
from tlbench.testing.contract import Case, run
from tlbench.testing.fakes import CPU, FakeTask, FakeTeacher, fake_backbone, fake_task
from tlbench.training.batches import Batch, Mixed
from tlbench.training.classifier import Classifier
from tlbench.training.context import Context
from tlbench.training.distillation_losses import decoupled_kl, softened_kl
from tlbench.training.parameter_groups import parameter_groups
from tlbench.training.supervised_loop import LoopOptions, train_classifier

B, C = 6, 5
VARIANTS: list[dict[str, Any]] = [
    {"loss": "dkd"},
    {"augment": "shift", "smoothing": 0.1},
    {"transfer": "all", "loss": "dkd", "augment": "affine"},
]


def _method() -> ModuleType:
    return registry.declaration("methods", "distillation").load()


def _context(**changes: Any) -> Context:
    return Context(**{"random_root": "distillation-test", "device": CPU, **changes})


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """Logits (B, C) of a teacher and a student."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = (2 * torch.randn(B, C, generator=generator, dtype=torch.float64) for _ in range(2))
    return teacher, student.requires_grad_()


TARGETS = torch.tensor([0, 4, 2, 2, 1, 3])


def _kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _probabilities(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(z / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def _softened(teacher: list[float], student: list[float], temperature: float) -> float:
    return temperature**2 * _kl(_probabilities(teacher, temperature), _probabilities(student, temperature))


def _decoupled(
    teacher: list[float], student: list[float], target: int, temperature: float, alpha: float, beta: float
) -> float:
    pairs, rests = [], []
    for logits in (teacher, student):
        p = _probabilities(logits, temperature)
        pairs.append([p[target], 1 - p[target]])
        rests.append([each / (1 - p[target]) for label, each in enumerate(p) if label != target])
    return temperature**2 * (alpha * _kl(*pairs) + beta * _kl(*rests))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_soft_term_is_the_divergence_from_the_teacher_times_the_squared_temperature(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    teacher, student = pair
    losses = softened_kl(teacher, student, temperature)
    loops = [_softened(*rows, temperature) for rows in zip(teacher.tolist(), student.tolist(), strict=True)]
    torch.testing.assert_close(losses, torch.tensor(loops, dtype=torch.float64))
    p, q = (softmax(z.detach().numpy() / temperature, axis=1) for z in pair)
    np.testing.assert_allclose(losses.detach(), temperature**2 * rel_entr(p, q).sum(1), rtol=1e-9)


def test_its_mean_is_that_over_examples_not_over_classes_too(pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = (z / 3.0 for z in pair)
    own = softened_kl(*pair, 3.0).mean() / 9
    elements = kl_div(student.log_softmax(1), teacher.softmax(1), reduction="none")
    torch.testing.assert_close(own, kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean"))
    torch.testing.assert_close(own, C * elements.mean())


def test_its_gradient_is_the_difference_of_softened_probabilities(pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = pair
    for temperature in (1.0, 5.0):
        (gradient,) = torch.autograd.grad(softened_kl(teacher, student, temperature).mean(), student)
        p_t, p_s = ((z / temperature).softmax(1) for z in (teacher, student))
        torch.testing.assert_close(gradient, temperature * (p_s - p_t) / B)


def test_at_a_high_temperature_it_is_the_squared_distance_of_centred_logits(pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = (z - z.mean(1, keepdim=True) for z in pair)
    expected = (teacher - student).square().sum(1) / (2 * C)
    torch.testing.assert_close(softened_kl(teacher, student, 1e4), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "loss",
    [lambda t, s: softened_kl(t, s, 4.0), lambda t, s: decoupled_kl(t, s, TARGETS, 4.0, 1.0, 8.0)],
    ids=["kd", "dkd"],
)
def test_both_losses_look_at_differences_of_logits_only_and_are_least_at_the_teachers_own(
    pair: tuple[Tensor, Tensor], loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    teacher, student = pair
    torch.testing.assert_close(loss(teacher + 3, student - 7), loss(teacher, student))
    assert (loss(teacher, student) > 0).all()
    same = teacher.clone().requires_grad_()
    assert loss(teacher, same).abs().max() < 1e-14
    (gradient,) = torch.autograd.grad(loss(teacher, same).sum(), same)
    assert gradient.abs().max() < 1e-14
    assert torch.autograd.gradcheck(lambda z: loss(teacher, z), (student,))


def test_extreme_logits_give_finite_losses_and_gradients(pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = (1e4 * z.detach() for z in pair)
    student.requires_grad_()
    for losses in (softened_kl(teacher, student, 1.0), decoupled_kl(teacher, student, TARGETS, 1.0, 1.0, 8.0)):
        (gradient,) = torch.autograd.grad(losses.sum(), student)
        assert torch.isfinite(losses).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0), (0.5, 8.0)])
def test_the_decoupled_loss_is_the_papers(pair: tuple[Tensor, Tensor], alpha: float, beta: float) -> None:
    teacher, student = pair
    losses = decoupled_kl(teacher, student, TARGETS, 4.0, alpha, beta)
    rows = zip(teacher.tolist(), student.tolist(), TARGETS.tolist(), strict=True)
    loops = [_decoupled(*row, 4.0, alpha, beta) for row in rows]
    torch.testing.assert_close(losses, torch.tensor(loops, dtype=torch.float64))


def test_coupled_again_the_two_parts_are_the_whole(pair: tuple[Tensor, Tensor]) -> None:
    """KD = TCKD + (1 - the teacher's probability of the target) NCKD."""
    teacher, student = pair
    target, others = (decoupled_kl(teacher, student, TARGETS, 4.0, *weights) for weights in ((1.0, 0.0), (0.0, 1.0)))
    p = (teacher / 4.0).softmax(1)[range(B), TARGETS]
    torch.testing.assert_close(target + (1 - p) * others, softened_kl(teacher, student, 4.0), rtol=1e-12, atol=1e-14)


def test_of_two_classes_nothing_is_left_beside_the_target(pair: tuple[Tensor, Tensor]) -> None:
    teacher, student = (z[:, :2] for z in pair)
    losses = decoupled_kl(teacher, student, TARGETS % 2, 4.0, 1.0, 8.0)
    torch.testing.assert_close(losses, softened_kl(teacher, student, 4.0))


def _double_task() -> tuple[FakeTask, Backbone, nn.Module]:
    """The fake task with a backbone and a teacher in double precision."""
    fake = fake_task("classification")
    return fake, fake_backbone().double(), FakeTeacher(fake.dataset).double()


def _by_hand(student: Tensor, teacher: Tensor, labels: list[int | None], cfg: Any) -> Tensor:
    """The mean over a batch of a CE + (1 - a) T^2 KL, where a label is None the second term alone."""
    losses = []
    for z, t, label in zip(student, teacher, labels, strict=True):
        p, q = (t / cfg.temperature).softmax(0), (z / cfg.temperature).softmax(0)
        soft = cfg.temperature**2 * sum(a * (a / b).log() for a, b in zip(p, q, strict=True))
        hard = 0.0 if label is None else cross_entropy(z[None], torch.tensor([label]))
        losses.append(cfg.hard_weight * hard + (1 - cfg.hard_weight) * soft)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("transfer", ["labelled", "all"])
def test_a_step_follows_the_loss_written_out_example_by_example(transfer: str) -> None:
    fake, backbone, teacher = _double_task()
    cfg = _method().Config(
        epochs=2, batch_size=1000, optimizer="sgd", warmup=0.0, weight_decay=0.0, lr=0.05, temperature=3.0,
        hard_weight=0.3, transfer=transfer,
    )  # fmt: skip
    twin = Classifier(copy.deepcopy(backbone), 10).double()
    ctx = _context(teacher=teacher)
    task = replace(fake.task, val=None)
    torch.set_default_dtype(torch.float64)
    try:
        predictor = _method().fit(task, backbone, cfg, ctx)
    finally:
        torch.set_default_dtype(torch.float32)
    x, labels = torch.from_numpy(task.train.x), task.train.labels.tolist()
    if transfer == "all":
        assert task.unlabeled is not None
        x = torch.cat([x, torch.from_numpy(task.unlabeled.x)])
        labels += [None] * len(task.unlabeled)
    twin.train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9)
    for rate in (0.05, 0.025):  # a cosine over two steps
        optimizer.param_groups[0]["lr"] = rate
        loss = _by_hand(twin(x), teacher(x), labels, cfg)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for own, by_hand in zip(predictor.module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(own, by_hand, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("params", [{}, {"loss": "dkd"}], ids=str)
def test_of_mixed_images_the_loss_is_the_mean_over_both_labels(params: dict[str, Any]) -> None:
    """Kept answers are of images as they are, so the teacher is asked about mixed ones; some labels are unknown."""
    fake, _, teacher = _double_task()
    loss = _method().DistillationLoss(
        fake.task.train, _method().Config(mix="mixup", **params), _context(teacher=teacher)
    )
    x = torch.from_numpy(fake.task.train.x[:4]).double()
    z = torch.randn(4, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, other, shares = torch.tensor([0, 1, -1, 3]), torch.tensor([2, -1, 4, 3]), torch.tensor([0.2, 0.5, 0.7, 1.0])
    found = loss(z, Batch(torch.arange(4), x, y, 4, Mixed(other, shares)))
    first, second = (loss(z, Batch(torch.arange(4), x, labels, 4)) for labels in (y, other))
    torch.testing.assert_close(found, shares * first + (1 - shares) * second, rtol=1e-6, atol=1e-8)
    assert (first != second).sum() == 3


def test_the_labels_alone_make_it_training_from_scratch_bit_for_bit() -> None:
    fake = fake_task("classification")
    scratch = registry.declaration("methods", "from_scratch").load()
    same = {"epochs": 4, "smoothing": 0.1, "augment": "shift"}
    logits, curves = [], []
    for method, config in (
        (scratch, scratch.Config(**same)),
        (_method(), _method().Config(**same, hard_weight=1.0)),
        (_method(), _method().Config(**same, hard_weight=0.9)),
    ):
        ctx = _context(teacher=FakeTeacher(fake.dataset))
        torch.manual_seed(0)
        logits.append(method.fit(fake.task, fake_backbone(), config, ctx).logits(torch.from_numpy(fake.test.x)))
        curves.append(ctx.curves)
    assert torch.equal(logits[0], logits[1])
    assert curves[0] == curves[1]
    assert not torch.equal(logits[0], logits[2])


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it() -> None:
    fake, backbone, _ = _double_task()
    teacher = Classifier(backbone, 10).double()
    nn.init.normal_(teacher.head.weight, generator=torch.Generator().manual_seed(0))
    model = copy.deepcopy(teacher)
    teacher.eval().requires_grad_(False)
    cfg = _method().Config(epochs=1, hard_weight=0.0, weight_decay=0.0, optimizer="sgd", lr=1.0, augment="shift")
    ctx = _context(teacher=teacher)
    loss = _method().DistillationLoss(fake.task.train, cfg, ctx)
    groups = parameter_groups([(model.parameters(), cfg.lr)], 0.0)
    train_classifier(model, groups, fake.task.train, None, cfg, ctx, LoopOptions(loss=loss, batch_norm="frozen"))
    assert ctx.curves["train_loss"][0][1] == pytest.approx(0.0, abs=1e-14)
    for own, its in zip(model.parameters(), teacher.parameters(), strict=True):
        torch.testing.assert_close(own, its, rtol=0, atol=1e-10)


class _Heard(FakeTeacher):
    """A teacher that keeps what it is asked."""

    asked: list[Tensor]

    def forward(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        self.asked.append(x.clone())
        return super().forward(x)


def _hear(**params: Any) -> tuple[FakeTask, list[Tensor], list[Tensor]]:
    """Return the task, and the inputs of teacher and student in training, over three epochs of three batches."""
    fake = fake_task("classification")
    teacher, backbone = _Heard(fake.dataset), fake_backbone()
    teacher.asked, seen = [], []
    backbone.register_forward_pre_hook(lambda net, args: seen.append(args[0].clone()) if net.training else None)
    cfg = _method().Config(epochs=3, batch_size=16, **params)
    _method().fit(fake.task, backbone, cfg, _context(teacher=teacher))
    return fake, teacher.asked, seen


@pytest.mark.parametrize("augment", ["shift", "crop_flip"])
def test_where_images_are_moved_both_nets_see_the_same_ones(augment: str) -> None:
    fake, asked, seen = _hear(augment=augment)
    assert len(asked) == len(seen) == 9
    assert all(torch.equal(one, other) for one, other in zip(asked, seen, strict=True))
    given = {image.tobytes() for image in fake.task.train.x}
    assert any(image.numpy().tobytes() not in given for image in asked[0])


def test_where_they_are_not_the_teacher_is_asked_once_about_each() -> None:
    fake, asked, seen = _hear()
    assert len(seen) == 9
    assert np.array_equal(torch.cat(asked).numpy(), fake.task.train.x)


def test_unlabelled_images_are_learnt_from_only_when_asked_for() -> None:
    fake, asked, _ = _hear(transfer="all")
    assert fake.task.unlabeled is not None
    assert np.array_equal(torch.cat(asked).numpy(), np.concatenate([fake.task.train.x, fake.task.unlabeled.x]))
    method = _method()
    results = []
    for transfer, pool in (("all", None), ("labelled", fake.task.unlabeled), ("labelled", None)):
        task, cfg = replace(fake.task, unlabeled=pool), method.Config(epochs=2, transfer=transfer)
        torch.manual_seed(0)
        predictor = method.fit(task, fake_backbone(), cfg, _context(teacher=FakeTeacher(fake.dataset)))
        results.append(predictor.logits(torch.from_numpy(fake.test.x)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def _loss_of(labels: list[int], student: Tensor, **params: Any) -> Tensor:
    """The method's losses on the first inputs of the fake task with the given labels."""
    fake = fake_task("classification")
    count = len(labels)
    split = Split(fake.task.train.x[:count], np.array(labels), np.arange(count))
    cfg = _method().Config(augment="shift", **params)
    loss = _method().DistillationLoss(split, cfg, _context(teacher=FakeTeacher(fake.dataset)))
    x = torch.from_numpy(split.x)
    return loss(student, _method().Batch(torch.arange(count), x, torch.tensor(labels), count))


def test_an_unknown_label_takes_no_hard_term_and_leaves_the_target_to_the_teacher() -> None:
    fake = fake_task("classification")
    student = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    teacher = FakeTeacher(fake.dataset)(torch.from_numpy(fake.task.train.x[:4]))
    first = teacher.argmax(1)
    assert torch.equal(_loss_of([-1] * 4, student, hard_weight=1.0), torch.zeros(4))
    soft = 0.7 * softened_kl(teacher, student, 4.0)
    torch.testing.assert_close(_loss_of([-1] * 4, student, hard_weight=0.3), soft)
    soft = decoupled_kl(teacher, student, first, 4.0, 0.5, 6.0)
    dkd = {"loss": "dkd", "alpha": 0.5, "beta": 6.0, "hard_weight": 0.3}
    torch.testing.assert_close(_loss_of([-1] * 4, student, **dkd), soft)
    labels = ((first + 3) % 10).tolist()
    soft = decoupled_kl(teacher, student, torch.tensor(labels), 4.0, 0.5, 6.0)
    hard = 0.3 * cross_entropy(student, torch.tensor(labels), reduction="none")
    torch.testing.assert_close(_loss_of(labels, student, **dkd), hard + soft)
    torch.testing.assert_close(_loss_of(labels, student, **{**dkd, "hard_weight": None}), hard / 0.3 + soft)


def test_the_teachers_weight_rises_over_the_first_epochs_of_the_decoupled_loss() -> None:
    fake = fake_task("classification")
    student = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    labels = fake.task.train.labels[:4]
    split = Split(fake.task.train.x[:4], labels, np.arange(4))
    batch = _method().Batch(torch.arange(4), torch.from_numpy(split.x), torch.from_numpy(labels), 4)
    hard = cross_entropy(student, torch.from_numpy(labels), reduction="none")
    for kind, shares in (("dkd", [0.25, 0.5, 0.75, 1.0, 1.0]), ("kd", [1.0] * 5)):
        cfg = _method().Config(loss=kind, epochs=40, rise=0.1)
        loss = _method().DistillationLoss(split, cfg, _context(teacher=FakeTeacher(fake.dataset)))
        weight = 1.0 if kind == "dkd" else 0.1
        soft = loss(student, batch) - weight * hard
        for epoch, share in enumerate(shares):
            loss.begin_epoch(epoch)
            torch.testing.assert_close(loss(student, batch), weight * hard + share * soft)


def test_losses_are_in_single_precision_whatever_the_teacher_answers_in(monkeypatch: pytest.MonkeyPatch) -> None:
    student = torch.randn(4, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    expected = _loss_of([0, 1, 2, 3], student)
    forward = FakeTeacher.forward
    monkeypatch.setattr(FakeTeacher, "forward", lambda self, x: forward(self, x).bfloat16())
    losses = _loss_of([0, 1, 2, 3], student)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, expected, rtol=0.05, atol=0.05)
    monkeypatch.setattr(FakeTeacher, "forward", lambda self, x: forward(self, x).bfloat16().float())
    assert torch.equal(losses, _loss_of([0, 1, 2, 3], student))


@pytest.mark.parametrize("params", [{"augment": "none"}, {"augment": "shift"}], ids=str)
def test_the_teacher_answers_in_the_precision_of_the_step(params: dict[str, Any]) -> None:
    fake, seen = fake_task("classification"), set()
    teacher = FakeTeacher(fake.dataset)
    teacher.register_forward_hook(lambda net, args, output: seen.add(output.dtype))
    cfg = _method().Config(epochs=1, **params)
    _method().fit(fake.task, fake_backbone(), cfg, _context(teacher=teacher, precision="bfloat16"))
    assert seen == {torch.bfloat16}


@pytest.fixture(scope="module")
def shared_fits() -> Iterator[None]:
    with contract.shared_fits():
        yield


@pytest.mark.parametrize("check", contract.CHECKS[2:], ids=contract.title)
@pytest.mark.parametrize("params", VARIANTS, ids=str)
def test_every_variant_keeps_the_contract(
    shared_fits: None, check: Callable[[Case, Path], None], params: dict[str, Any], tmp_path: Path
) -> None:
    check(Case("distillation", "classification", params={"epochs": 25, "lr": 0.01, **params}), tmp_path)


def test_only_the_student_is_kept(tmp_path: Path) -> None:
    fitted = run(Case("distillation", "classification", params={"epochs": 1}), tmp_path)
    student = Classifier(fake_backbone(), 10)
    count = sum(p.numel() for p in student.parameters())
    held = sum(t.numel() * t.element_size() for t in (*student.parameters(), *student.buffers()))
    footprint = fitted.result.footprint()
    assert (footprint.trainable, footprint.total, footprint.stored_bytes) == (count, count, held)


def test_what_is_already_labelled_is_not_asked_for_again() -> None:
    declared = registry.declaration("methods", "distillation")
    info, backbone = fake_task("classification").task.info, fake_backbone().info
    config = declared.settings
    assert declared.skip is not None
    assert "transfer: labelled" in str(declared.skip(replace(info, shots="full"), backbone, config(transfer="all")))
    assert declared.skip(replace(info, shots="full"), backbone, config()) is None
    assert declared.skip(info, backbone, config(transfer="all")) is None
