"""Methods that adapt to another domain: what their losses are, what they read, and what is left untouched."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from two_domains import CLASSES, context, draw, made_step, two_domains

from tlbench.data.dataset import Task
from tlbench.plugins import registry
from tlbench.testing.fakes import CPU, fake_backbone
from tlbench.training.adaptation import batch_norm_statistics as moments
from tlbench.training.adaptation.adaptation_loop import DEFAULT_OPTIONS as NO_OPTIONS
from tlbench.training.adaptation.adaptation_loop import AdaptationStep, DomainOptions, supervised_loss, train_on_domains
from tlbench.training.adaptation.alignment_ramp import alignment_ramp
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.adaptation.class_confusion import class_confusion
from tlbench.training.adaptation.coral import covariance_distance
from tlbench.training.adaptation.discriminator import Discriminator
from tlbench.training.adaptation.information_maximization import information_loss
from tlbench.training.adaptation.mmd import gaussian_kernels, squared_distances, squared_mmd
from tlbench.training.adaptation.multilinear_conditioning import MultilinearConditioning
from tlbench.training.adaptation.pseudo_labels import centroid_labels
from tlbench.training.context import Context
from tlbench.training.predictor import Predictor

ALIGNING = ["cdan", "coral", "dann", "mcc", "mmd"]
ADAPTING = [*ALIGNING, "adabn", "shot"]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ADAPTING),
    ("cdan", {"entropy": True}),
    ("mmd", {"layer": "joint"}),
    ("shot", {"pseudo_weight": 0.3}),
]
SHORT = {"steps": 8, "checks": 4, "bottleneck": 16, "batch_size": 20}


def _method(name: str) -> ModuleType:
    return registry.declaration("methods", name).load()


def _config(name: str, **params: Any) -> Any:
    width = {"width": 16} if name in ("dann", "cdan") else {}
    return _method(name).Config(**{**SHORT, **width, **params})


def _fit(name: str, task: Task, ctx: Context | None = None, **params: Any) -> Predictor:
    torch.manual_seed(0)
    return _method(name).fit(task, fake_backbone(), _config(name, **params), ctx or context())


def _state(predictor: Any) -> dict[str, Tensor]:
    return predictor.module.state_dict()


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a method and returns every step's (progress, terms)."""

    def watch(name: str, task: Task, **params: Any) -> list[tuple[AdaptationStep, dict[str, Tensor]]]:
        module, seen = _method(name), []
        real = module.train_on_domains

        def spied(model: Any, groups: Any, task: Any, cfg: Any, ctx: Any, loss: Any, *options: Any) -> None:
            def told(step: AdaptationStep) -> dict[str, Tensor]:
                terms = loss(step)
                seen.append((step, terms))
                return terms

            real(model, groups, task, cfg, ctx, told, *options)

        monkeypatch.setattr(module, "train_on_domains", spied)
        _fit(name, task, **params)
        return seen

    return watch


# What the losses are.


def test_dann_is_half_of_both_domains_cross_entropies() -> None:
    step, adversary = made_step(), Discriminator(5, 8, torch.Generator().manual_seed(0)).double()
    logits = adversary(torch.cat([step.source.z, step.target.z]))
    expected = 0.5 * binary_cross_entropy_with_logits(logits[:6], torch.ones(6).double())
    expected = expected + 0.5 * binary_cross_entropy_with_logits(logits[6:], torch.zeros(4).double())
    torch.testing.assert_close(_method("dann").adversarial(step, adversary, 1.0), expected)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_danns_features_get_minus_lambda_of_the_gradient_and_its_discriminator_all_of_it(strength: float) -> None:
    step, adversary = made_step(), Discriminator(5, 8, torch.Generator().manual_seed(0)).double()
    tensors = [step.source.z, step.target.z, *adversary.parameters()]
    own = torch.autograd.grad(_method("dann").adversarial(step, adversary, strength), tensors)
    logits = adversary(torch.cat([step.source.z, step.target.z]))
    losses = torch.cat([-logits[:6], logits[6:]]).exp().log1p()
    plain = torch.autograd.grad((losses[:6].mean() + losses[6:].mean()) / 2, tensors)
    for place, (ours, theirs) in enumerate(zip(own, plain, strict=True)):
        factor = -strength * math.tanh(5 * 0.3) if place < 2 else 1
        torch.testing.assert_close(ours, factor * theirs, rtol=1e-9, atol=1e-15)


def test_cdan_reads_the_outer_product_and_lets_no_gradient_to_the_predictions() -> None:
    step, cfg = made_step(), _config("cdan")
    joined = MultilinearConditioning(5, 3, torch.Generator())
    adversary = Discriminator(15, 8, torch.Generator().manual_seed(0)).double()
    loss = _method("cdan").adversarial(step, joined, adversary, cfg)
    pairs = [(part.z[i], part.logits[i].softmax(0)) for part in (step.source, step.target) for i in range(len(part.z))]
    logits = adversary(torch.stack([torch.outer(p, z).flatten() for z, p in pairs]))
    losses = binary_cross_entropy_with_logits(logits, (torch.arange(10) < 6).double(), reduction="none")
    torch.testing.assert_close(loss, (losses[:6].mean() + losses[6:].mean()) / 2)
    grads = torch.autograd.grad(
        loss, [step.source.z, step.target.z, step.source.logits, step.target.logits], allow_unused=True
    )
    assert grads[0].abs().max() > 1e-6
    assert grads[2:] == (None, None)


def test_cdan_with_entropy_weighs_the_certain_more_within_each_domain() -> None:
    step, cfg = made_step(), _config("cdan", entropy=True)
    joined = MultilinearConditioning(5, 3, torch.Generator())
    adversary = Discriminator(15, 8, torch.Generator().manual_seed(0)).double()
    loss = _method("cdan").adversarial(step, joined, adversary, cfg)
    z, p = (
        torch.cat(both)
        for both in ((step.source.z, step.target.z), (step.source.logits.softmax(1), step.target.logits.softmax(1)))
    )
    losses = binary_cross_entropy_with_logits(
        adversary(joined(z, p)), (torch.arange(10) < 6).double(), reduction="none"
    )
    weights = 1 + (p * p.log()).sum(1).exp()
    halves = [(losses[part] * weights[part]).sum() / weights[part].sum() for part in (slice(6), slice(6, 10))]
    torch.testing.assert_close(loss, sum(halves) / 2)


@pytest.mark.parametrize("layer", ["bottleneck", "logits", "joint"])
@pytest.mark.parametrize("estimate", ["unbiased", "biased"])
def test_mmd_compares_the_layer_that_it_is_told_to(layer: str, estimate: str) -> None:
    step = made_step()
    features = gaussian_kernels(squared_distances(torch.cat([step.source.z, step.target.z])), 3)
    logits = torch.cat([step.source.logits, step.target.logits])
    kernel = {
        "bottleneck": features,
        "logits": gaussian_kernels(squared_distances(logits), 3),
        "joint": features * (squared_distances(logits.softmax(1)) / -1.68).exp(),
    }[layer]
    expected = squared_mmd(kernel, 6, unbiased=estimate == "unbiased")
    found = _method("mmd").domain_discrepancy(step, _config("mmd", layer=layer, estimate=estimate, kernels=3))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", ALIGNING)
def test_every_step_minimises_the_labels_loss_and_a_weighted_term_that_sets_in_with_the_ramp(
    name: str, shots: int, watched: Any
) -> None:
    seen = watched(name, two_domains(shots), weight=3.0, lr=0.1)
    assert [step.progress for step, _ in seen] == [taken / 8 for taken in range(8)]
    key = {"coral": "coral", "mcc": "confusion", "mmd": "mmd"}.get(name, "domain")
    for step, terms in seen:
        assert set(terms) == {"loss", key}
        labelled = [step.source, step.shots] if shots else [step.source]
        expected = sum(cross_entropy(part.logits, part.y) for part in labelled) / len(labelled)
        torch.testing.assert_close(terms["loss"], expected)
        plain = {
            "coral": lambda step: covariance_distance(step.source.z, step.target.z),
            "mcc": lambda step: class_confusion(step.target.logits, 2.5),
            "mmd": lambda step: _method("mmd").domain_discrepancy(step, _config("mmd")),
        }
        if name in plain:  # an adversary's ramp is in the gradient
            torch.testing.assert_close(terms[key], 3 * alignment_ramp(step.progress) * plain[name](step))
            assert plain[name](step) != 0
        else:
            assert 0.5 * 3 * math.log(2) < terms[key].item() < 2 * 3 * math.log(2)
    assert len(seen[0][0].shots.y) == (20 if shots else 0)


@pytest.mark.parametrize("name", ["dann", "cdan"])
def test_an_adversarys_strength_follows_every_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = _method(name), []
    real = module.reverse_gradient

    def spied(z: Tensor, strength: Tensor) -> Tensor:
        assert strength.shape == ()
        seen.append(strength.item())
        return real(z, strength)

    monkeypatch.setattr(module, "reverse_gradient", spied)
    _fit(name, two_domains(), strength=0.3)
    assert seen == pytest.approx([0.3 * (2 / (1 + math.exp(-10 * taken / 8)) - 1) for taken in range(8)])


# What is read, and what is not.


@pytest.mark.parametrize(("name", "params"), VARIANTS, ids=str)
def test_labels_of_the_unlabelled_target_would_change_nothing(name: str, params: dict[str, Any]) -> None:
    states = [_state(_fit(name, two_domains(shots=1, relabel=seed), **params)) for seed in (0, 1)]
    assert _same(*states)


@pytest.mark.parametrize("name", ADAPTING)
def test_labels_of_the_targets_shots_are_learnt_from(name: str) -> None:
    task = two_domains(shots=2)
    turned = replace(task, train=copy.copy(task.train))
    turned.train.y = (task.train.labels + 1) % CLASSES
    assert not _same(_state(_fit(name, task)), _state(_fit(name, turned)))


@pytest.mark.parametrize("name", ADAPTING)
def test_the_unlabelled_target_is_learnt_from(name: str) -> None:
    task = two_domains()
    assert task.unlabeled is not None
    other = replace(task, unlabeled=copy.copy(task.unlabeled))
    other.unlabeled._x = 255 - task.unlabeled.x
    assert not _same(_state(_fit(name, task)), _state(_fit(name, other)))


def _trained(task: Task, loss: Any, options: DomainOptions) -> BottleneckClassifier:
    """Train in double precision with all statistics frozen, so that one domain's answers do not move the other's."""
    torch.manual_seed(0)
    cfg = _config("source_only", weight_decay=0.0)
    model = BottleneckClassifier(fake_backbone(), CLASSES, cfg.bottleneck).double()
    extra = () if options.auxiliary is None else (options.auxiliary.double().parameters(),)
    options = replace(options, batch_norm="frozen")
    train_on_domains(model, model.groups(cfg, *extra), task, cfg, context(), loss, options)
    return model


@pytest.mark.parametrize("name", ALIGNING)
def test_with_no_weight_and_frozen_statistics_it_is_training_on_the_source(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = two_domains()
    parts = DomainOptions(parts=("source", "shots"))
    alone = _trained(task, lambda step: {"loss": supervised_loss(step)}, parts)
    module, found = _method(name), []

    def train(model: Any, groups: Any, task: Task, cfg: Any, ctx: Any, loss: Any, options: Any = NO_OPTIONS) -> None:
        found.append(_trained(task, loss, options))

    monkeypatch.setattr(module, "train_on_domains", train)
    module.fit(task, fake_backbone(), _config(name, weight=0.0), context())
    for own, expected in zip(found[0].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-12)


def test_discriminators_and_projections_are_part_of_no_result() -> None:
    for name in ("dann", "cdan"):
        predictor = _fit(name, two_domains())
        model = BottleneckClassifier(fake_backbone(), CLASSES, SHORT["bottleneck"])
        assert _state(predictor).keys() == model.state_dict().keys()
        assert predictor.footprint().total == sum(p.numel() for p in model.parameters())


# AdaBN.


def _net() -> nn.Sequential:
    """A smooth net in double precision with batch normalisation of maps, of vectors, and in a branch."""
    torch.manual_seed(0)

    class Branched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.side = nn.BatchNorm2d(4)  # registered first, reached second
            self.main = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            return self.side(self.main(x)) + x

    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), Branched(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(64, 6), nn.BatchNorm1d(6),
    ).double()  # fmt: skip


@pytest.mark.parametrize("piece", [3, 7, 256])
def test_pooled_moments_are_those_of_the_whole_set_as_one_batch(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_BATCH_SIZE", piece)
    net, x = _net(), 5 + 3 * draw(23, 1, 8, 8)
    expected = copy.deepcopy(net).train()(x)
    weights = copy.deepcopy(dict(net.named_parameters()))
    moments.set_batch_norm_statistics(net, x.numpy(), CPU)
    assert not net.training
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-11)
    assert all(torch.equal(p, weights[name]) for name, p in net.named_parameters())
    first = net[1]
    maps = net[0](x)
    torch.testing.assert_close(first.running_mean, maps.mean((0, 2, 3)))
    torch.testing.assert_close(first.running_var, maps.var((0, 2, 3), correction=0))


def test_pooled_moments_far_from_zero_do_not_cancel() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3))
    x = (1e4 + draw(500, 3)).float()
    moments.set_batch_norm_statistics(net, x.numpy(), CPU)
    torch.testing.assert_close(net[0].running_var.double(), x.double().var(0, correction=0), rtol=1e-5, atol=0)


def test_adabn_is_training_on_the_source_with_other_moments() -> None:
    task, proposed = two_domains(), {}
    alone = _fit("source_only", task)
    ctx = context(on_candidate=lambda step, model: proposed.update({step: copy.deepcopy(model)}))
    adapted = _fit("adabn", task, ctx)
    for own, expected in zip(adapted.module.parameters(), alone.module.parameters(), strict=True):
        assert torch.equal(own, expected)
    assert list(proposed) == [2, 4, 6, 8]
    assert _same(proposed[8].state_dict(), _state(adapted))
    twin = copy.deepcopy(alone.module)
    assert task.unlabeled is not None
    moments.set_batch_norm_statistics(twin, task.unlabeled.x, CPU)
    assert _same(twin.state_dict(), _state(adapted))
    assert not _same(_state(alone), _state(adapted))
    x = torch.from_numpy(task.unlabeled.x)
    twin.train()
    torch.testing.assert_close(adapted.logits(x), twin(x), rtol=1e-4, atol=1e-4)


def test_adabn_says_where_there_is_nothing_to_adapt() -> None:
    bare = fake_backbone()
    for block in [module for module in bare.modules() if isinstance(module, nn.Sequential)]:
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                setattr(block, name, nn.Identity())
    said = {}
    for width in (None, 16):
        ctx = context()
        _method("adabn").fit(two_domains(), copy.deepcopy(bare), _config("adabn", bottleneck=width), ctx)
        said[width] = ctx.notes
    assert said == {None: ["nothing in this network normalises by batches, so nothing is adapted"], 16: []}


# SHOT.


def _source_model(task: Task) -> BottleneckClassifier:
    return _fit("source_only", task, steps=60, lr=0.1).module


def test_shot_leaves_the_head_as_the_source_made_it_and_reads_no_source() -> None:
    task = two_domains()
    model = _source_model(task)
    twin, before = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    cfg = _config("shot", pseudo_weight=0.3)
    _method("shot").adapt(model, replace(task, source=None), cfg, context())
    _method("shot").adapt(twin, task, cfg, context())
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("head.") for name in changed)
    assert {name for name, p in model.named_parameters() if p.ndim > 1 and not name.startswith("head.")} <= changed
    assert before["head.weight"].abs().max() > 0
    assert _same(after, twin.state_dict())


def test_shot_smooths_the_labels_of_the_source_and_keeps_the_targets_shots_in_sight(watched: Any) -> None:
    for step, terms in watched("shot", two_domains(shots=1), smoothing=0.2, weight=3.0):
        if "source_loss" in terms:
            parts = (step.source, step.shots)
            expected = sum(cross_entropy(part.logits, part.y, label_smoothing=0.2) for part in parts) / 2
            torch.testing.assert_close(terms["source_loss"], expected)
            assert not len(step.target.y)
        else:
            assert set(terms) == {"information", "loss"}
            assert not len(step.source.y)
            torch.testing.assert_close(terms["information"], 3 * information_loss(step.target.logits))
            torch.testing.assert_close(terms["loss"], cross_entropy(step.shots.logits, step.shots.y))


def test_shot_proposes_no_model_from_before_the_adaptation() -> None:
    steps: list[int] = []
    ctx = context(on_candidate=lambda step, model: steps.append(step))
    _fit("shot", two_domains(), ctx)
    assert steps == [10, 12, 14, 16]
    assert {key for key in ctx.curves if key.startswith("train_")} == {"train_source_loss", "train_information"}
    assert [step for step, _ in ctx.curves["train_source_loss"]] == [2, 4, 6, 8]


def test_shot_makes_predictions_on_the_target_more_informative() -> None:
    task = two_domains()
    model = _source_model(task)
    assert task.unlabeled is not None
    x = torch.from_numpy(task.unlabeled.x)
    with torch.no_grad():
        before = information_loss(model.eval()(x))
    _method("shot").adapt(model, task, _config("shot", steps=40), context())
    with torch.no_grad():
        assert information_loss(model.eval()(x)) < before - 0.05


def test_shots_own_labels_are_those_of_the_nearest_centre_renewed_once() -> None:
    z, p = draw(30, 6), (2 * draw(30, 4, seed=1)).softmax(1)
    unit = [row / row.norm() for row in z]

    def nearest(centres: dict[int, Tensor]) -> list[int]:
        return [max(centres, key=lambda k: (row @ centres[k] / centres[k].norm()).item()) for row in unit]

    soft = {k: sum(weight[k] * row for weight, row in zip(p, unit, strict=True)) for k in range(4)}
    first = nearest(soft)
    hard = {k: sum(row for row, label in zip(unit, first, strict=True) if label == k) for k in set(first)}
    assert centroid_labels(z, p).tolist() == nearest(hard)
    assert nearest(hard) != first
    torch.testing.assert_close(centroid_labels(7 * z, p), centroid_labels(z, p))


def test_a_class_without_examples_is_given_to_nobody() -> None:
    z = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    p = torch.tensor([[0.9, 0.08, 0.02], [0.9, 0.08, 0.02], [0.08, 0.9, 0.02], [0.08, 0.9, 0.02]])
    assert centroid_labels(z, p).tolist() == [0, 0, 1, 1]


def test_shots_own_labels_are_renewed_at_every_check_and_follow_the_examples(watched: Any) -> None:
    task, module, given = two_domains(), _method("shot"), []
    real = module.pseudo_labels

    def spied(*args: Any) -> Tensor:
        given.append(real(*args))
        return given[-1]

    module.pseudo_labels = spied
    try:
        seen = [pair for pair in watched("shot", task, pseudo_weight=0.5) if "pseudo" in pair[1]]
    finally:
        module.pseudo_labels = real
    assert len(given) == 4
    assert len(seen) == 8
    for place, (step, terms) in enumerate(seen):
        labels = given[place // 2][step.target.rows]
        torch.testing.assert_close(terms["pseudo"], 0.5 * cross_entropy(step.target.logits, labels))
