"""The contract of methods and pre-training recipes, as checks that an author runs over a name.

    @pytest.mark.parametrize("case", contract.cases("my_method"), ids=str)
    @pytest.mark.parametrize("check", contract.CHECKS, ids=contract.title)
    def test_contract(check, case, tmp_path):
        check(case, tmp_path)

A case is a method in one of its roles: in a protocol that it fits into, or in pre-training. Methods whose defaults
train for long declare ``QUICK``, the parameters with which a fit on the fakes takes a second. Within
:func:`shared_fits`, checks that only look at a fit look at the same one where they follow each other on one case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.config import MethodConfig
from tlbench.core.record import Footprint
from tlbench.core.segments import GENERATIONS
from tlbench.data.dataset import TRAIN, Split, take
from tlbench.plugins import registry
from tlbench.search.space import space_of
from tlbench.stats.validators import VALIDATORS
from tlbench.testing.fakes import (
    FakeTask,
    FakeTeacher,
    fake_absent_backbone,
    fake_backbone,
    fake_context,
    fake_task,
    fake_text_backbone,
)
from tlbench.training.context import Context
from tlbench.training.epoch_loop import Checkpoints
from tlbench.training.fewshot.episodes import episode_inputs
from tlbench.training.frozen_features import embed
from tlbench.training.predictor import (
    AdaptingEpisodeLearner,
    EmbeddingEpisodeLearner,
    FeaturePredictor,
    ModulePredictor,
)

PRETRAIN = "pretrain"


@dataclass(frozen=True)
class Case:
    """A method in one of its roles, on a backbone.

    Attributes:
        method: The method's name.
        role: A protocol it fits into, or ``pretrain``.
        backbone: Makes the backbone, always the same one; what it reads decides what the fake task is made of.
        params: Parameters of the method beside its ``QUICK`` ones.
        validation: Whether the task has validation examples; without, no earlier epoch's weights can win.
    """

    method: str
    role: str
    backbone: Callable[[], Backbone] = fake_backbone
    params: Mapping[str, Any] = field(default_factory=dict)
    validation: bool = True

    def __str__(self) -> str:
        return f"{self.method}-{self.role}"


@dataclass(frozen=True)
class Fitted:
    """What came of a fit.

    Attributes:
        logits: Logits of the fake test examples (or, of a pre-trained backbone, features).
        result: What ``fit`` returned; the backbone after ``pretrain``.
        given: The backbone as it was given.
        backbone: The same object after the fit.
        ctx: The context after the fit.
        fake: The task.
    """

    logits: Tensor
    result: Any
    given: Backbone
    backbone: Backbone
    ctx: Context
    fake: FakeTask


class RefusedError(Exception):
    """The method skips the fake task, with a reason."""


class _KilledError(Exception):
    pass


def cases(*methods: str) -> list[Case]:
    """Return every role of the given methods, or of all discovered ones; on images, unless they read only texts."""
    found = []
    for name in methods or registry.names("methods"):
        declared = registry.declaration("methods", name)
        roles = (*declared.protocols, *([PRETRAIN] if PRETRAIN in declared.roles else []))
        network = fake_backbone if "image" in declared.modalities else fake_text_backbone
        backbone = network if declared.constants.BACKBONE else fake_absent_backbone
        found += [Case(name, role, backbone) for role in roles]
    return found


def title(check: Callable[..., None]) -> str:
    """Return a check's name without its prefix."""
    return check.__name__.removeprefix("check_")


def configure(case: Case) -> MethodConfig:
    """Return the method's configuration for a case."""
    declared = registry.declaration("methods", case.method)
    config = declared.load().Config(**{**declared.constants.QUICK, **case.params})
    assert isinstance(config, MethodConfig)
    return config


def run(case: Case, folder: Path, /, **context: Any) -> Fitted:
    """Fit a method on its fake task.

    Args:
        case: Method and role.
        folder: A folder of its own.
        **context: Changes to the context.

    Raises:
        RefusedError: The method skips the task.
    """
    declared = registry.declaration("methods", case.method)
    module, config = declared.load(), configure(case)
    fake, backbone = _fake(case), case.backbone()
    reason = declared.skip(fake.task.info, backbone.info, config) if declared.skip is not None else None
    if reason is not None and case.role != PRETRAIN:
        raise RefusedError(reason)
    given = copy.deepcopy(backbone)
    if declared.constants.TEACHER:
        context = {"teacher": FakeTeacher(fake.dataset), **context}
    ctx = fake_context(folder, fake.dataset, given, **context)
    torch.manual_seed(0)
    if case.role == PRETRAIN:
        module.pretrain(_corpus(fake, labelled=declared.constants.READS_LABELS), backbone, config, ctx)
        return Fitted(embed(backbone, fake.test.x, None, ctx.device), backbone, given, backbone, ctx, fake)
    task = fake.task if case.validation else replace(fake.task, val=None)
    result = module.fit(task, backbone, config, ctx)
    return Fitted(_predict(result, fake, ctx, slice(None)), result, given, backbone, ctx, fake)


@contextmanager
def shared_fits() -> Iterator[None]:
    """Let checks that follow each other on one case share its plain fit; methods must stay as they are meanwhile."""
    global _last
    _last = _LastFit()
    try:
        yield
    finally:
        _last = None


class _LastFit:
    """The plain fit of the case that was asked for last, in a folder of its own."""

    def __init__(self) -> None:
        self._kept: tuple[Case, Fitted, TemporaryDirectory[str]] | None = None

    def of(self, case: Case) -> Fitted:
        if self._kept is None or self._kept[0] != case:
            folder = TemporaryDirectory()
            self._kept = case, run(case, Path(folder.name)), folder
        return self._kept[1]


_last: _LastFit | None = None


def _plain(case: Case, folder: Path) -> Fitted:
    """Return a fit as a cell has it, to be looked at and not changed."""
    return run(case, folder) if _last is None else _last.of(case)


def check_declaration(case: Case, folder: Path) -> None:
    """What is declared without torch is what the module has: docstring, paper, schema, searchable defaults."""
    declared = registry.declaration("methods", case.method)
    module = declared.load()
    assert declared.summary, "the docstring opens with the idea, in a sentence"
    assert declared.paper.startswith("arXiv:"), "the docstring names the paper as arXiv:NNNN.NNNNN"
    assert module.Config.model_json_schema() == declared.settings.model_json_schema()
    assert issubclass(module.Config, MethodConfig)
    assert set(declared.constants.SEGMENTABLE) <= set(declared.protocols)
    assert set(declared.constants.OPTIMISES) <= set(VALIDATORS), "OPTIMISES names validators of tlbench.stats"
    assert not declared.constants.OPTIMISES or "adaptation" in declared.protocols
    for name, declared_field in module.Config.model_fields.items():
        extra = declared_field.json_schema_extra
        if isinstance(extra, dict) and "space" in extra:
            _check_space(module.Config, name, declared_field.default, extra["space"])


def check_refusal(case: Case, folder: Path) -> None:
    """``skip`` answers None, or a reason in words."""
    declared = registry.declaration("methods", case.method)
    if declared.skip is None or case.role == PRETRAIN:
        return
    reason = declared.skip(_fake(case).task.info, case.backbone().info, configure(case))
    assert reason is None or (isinstance(reason, str) and len(reason.split()) > 2)


def check_recipe(case: Case, folder: Path) -> None:
    """A pre-training recipe changes the weights in place, and only the weights: they can be saved and loaded by name.

    A recipe that declares ``READS_LABELS = False`` is given a corpus without labels.
    """
    if case.role != PRETRAIN:
        return
    fitted = _plain(case, folder)
    assert fitted.backbone is fitted.result
    before, after = fitted.given.state_dict(), fitted.backbone.state_dict()
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    assert _moved(fitted), "pre-training changed nothing"
    assert all(torch.isfinite(value).all() for value in after.values() if value.is_floating_point())
    assert fitted.logits.shape == (len(fitted.fake.test), fitted.backbone.out_dim)
    other = case.backbone()
    other.load_state_dict(after)
    assert torch.equal(embed(other, fitted.fake.test.x, None, fitted.ctx.device), fitted.logits)


def check_learns(case: Case, folder: Path) -> None:
    """Predictions are finite, of the right shape, and far better than chance on the fake."""
    _check_accuracy(_plain(case, folder), case)


def check_reproducible(case: Case, folder: Path) -> None:
    """The same cell gives the same logits, bit for bit, and leaves its inputs and the data alone."""
    first, second = _plain(case, folder / "1"), run(case, folder / "2")
    assert torch.equal(first.logits, second.logits)
    assert first.ctx.curves == second.ctx.curves
    assert first.ctx.selected == second.ctx.selected
    untouched = _fake(case)
    assert np.array_equal(first.fake.dataset.x, untouched.dataset.x)
    assert np.array_equal(first.fake.task.train.x, untouched.task.train.x)
    assert (first.fake.task.train.labels == untouched.task.train.labels).all()


def check_resumes(case: Case, folder: Path) -> None:
    """A fit that is killed after its second epoch and started again equals one that was not, bit for bit."""
    straight = _plain(case, folder / "straight")
    scratch = folder / "scratch"
    scratch.mkdir()
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done == 2 and not killed:
            killed.append(done)
            raise _KilledError

    try:
        resumed = run(case, folder / "killed", checkpoints=Checkpoints(scratch, interval=0.0), on_epoch=kill)
        assert not _moved(resumed), "a method that trains loops over ctx.epochs, where it can be killed and continues"
    except _KilledError:
        resumed = run(case, folder / "again", checkpoints=Checkpoints(scratch, interval=0.0), on_epoch=kill)
        assert list(scratch.glob("*.ckpt")), "nothing was kept to continue from"
    assert torch.equal(straight.logits, resumed.logits)
    assert straight.ctx.curves == resumed.ctx.curves
    assert straight.ctx.selected == resumed.ctx.selected
    assert straight.ctx.validation == resumed.ctx.validation


def check_segments(case: Case, folder: Path) -> None:
    """A method that declares ``SEGMENTABLE`` stops its training where a segment ends and continues with other values.

    That it goes on bit for bit where they are the same is what :func:`check_resumes` says.
    """
    if case.role not in registry.declaration("methods", case.method).constants.SEGMENTABLE:
        return
    scratch = folder / "scratch"
    scratch.mkdir()
    begun = run(case, folder / "begun", checkpoints=Checkpoints(scratch), segment_end=GENERATIONS[0])
    assert begun.ctx.validation, "segments are compared by what validation says of them"
    other = run(_changed(case), folder / "other", checkpoints=Checkpoints(scratch))
    assert torch.isfinite(other.logits).all()
    before, after = begun.ctx.curves, other.ctx.curves
    assert {name: curve[: len(before[name])] for name, curve in after.items()} == before
    assert len(before["val_accuracy"]) < len(after["val_accuracy"]), "the training that is cut is the one named fit"


def check_low_precision(case: Case, folder: Path) -> None:
    """In mixed precision the method still learns, and its parameters stay in single precision."""
    if registry.declaration("methods", case.method).constants.FROZEN_BACKBONE:
        return
    fitted = run(case, folder, precision="bfloat16")
    assert {p.dtype for p in fitted.backbone.parameters()} == {torch.float32}
    _check_accuracy(fitted, case)


def check_frozen_backbone(case: Case, folder: Path) -> None:
    """A method that says ``FROZEN_BACKBONE`` leaves every parameter and buffer of the given backbone as it was."""
    if not registry.declaration("methods", case.method).constants.FROZEN_BACKBONE:
        return
    assert _moved(_plain(case, folder)) == []


def check_teacher(case: Case, folder: Path) -> None:
    """A method that learns from a teacher leaves all of it as it was, in evaluation mode, and needs it no more."""
    if not registry.declaration("methods", case.method).constants.TEACHER:
        return
    fitted = _plain(case, folder)
    before, teacher = FakeTeacher(fitted.fake.dataset).state_dict(), fitted.ctx.teacher
    assert teacher is not None
    assert [name for name, value in teacher.state_dict().items() if not torch.equal(value, before[name])] == []
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    module = _module(fitted.result)
    assert module is None or not set(teacher.modules()) & set(module.modules()), "the teacher became part of the result"


def check_footprint(case: Case, folder: Path) -> None:
    """The footprint counts exactly the parameters that are not those of the given backbone, bit for bit."""
    if case.role == PRETRAIN:
        return
    assert_footprint(_plain(case, folder))


def check_inductive(case: Case, folder: Path) -> None:
    """The prediction for one example depends on the others that are predicted with it where that is declared only."""
    if case.role == PRETRAIN:
        return
    fitted = _plain(case, folder)
    if getattr(fitted.result, "transductive", False):
        assert_transductive(fitted)
    else:
        assert_inductive(fitted)


def check_solving(case: Case, folder: Path) -> None:
    """An episode that changes the network leaves it as it was, and is solved alike whatever is solved beside it."""
    fitted = _plain(case, folder)
    if not isinstance(fitted.result, AdaptingEpisodeLearner):
        return
    state = {name: value.clone() for name, value in fitted.result.module.state_dict().items()}
    support, labels, query = (part[None] for part in _episode(fitted.result, fitted.fake, fitted.ctx))
    ways = fitted.fake.task.info.classes
    both = torch.cat([(labels + 1) % ways, labels])
    together = fitted.result.classify(support[[0, 0]], both, query[[0, 0]], ways).detach().cpu()
    scale = fitted.logits.abs().max().item()  # training on rounding errors makes larger ones
    torch.testing.assert_close(together[1], fitted.logits, rtol=0, atol=1e-2 * scale)
    after = fitted.result.module.state_dict()
    assert [name for name in state if not torch.equal(state[name], after[name])] == []


def assert_footprint(fitted: Fitted) -> None:
    """Compare what a fit reports with the parameters that changed or came new."""
    footprint = fitted.result.footprint()
    assert isinstance(footprint, Footprint)
    assert 0 <= footprint.trainable <= footprint.total
    module = _module(fitted.result)
    if module is not None:
        given = list(fitted.given.parameters())
        changed = 0
        for p in module.parameters():
            same = next((place for place, q in enumerate(given) if _same(p, q)), None)
            if same is None:
                changed += p.numel()
            else:
                given.pop(same)  # it accounts for one parameter, no more
        whole = sum(p.numel() for p in module.parameters())
        if isinstance(
            fitted.result, AdaptingEpisodeLearner
        ):  # an episode may train what the fit left alone, and add to it
            assert footprint.trainable >= changed
            assert footprint.total >= whole
        else:
            assert footprint.trainable == changed
            assert footprint.total == whole
        assert footprint.stored_bytes >= 4 * changed


def assert_inductive(fitted: Fitted) -> None:
    """Predict the same examples alone, a few together, and all together."""
    alone = _predict(fitted.result, fitted.fake, fitted.ctx, slice(3, 4))
    few = _predict(fitted.result, fitted.fake, fitted.ctx, slice(3, 9))
    torch.testing.assert_close(alone, fitted.logits[3:4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(few, fitted.logits[3:9], rtol=1e-4, atol=1e-4)


def assert_transductive(fitted: Fitted) -> None:
    """A method that is listed apart for it does answer one query otherwise than the same query among others."""
    alone = _predict(fitted.result, fitted.fake, fitted.ctx, slice(3, 4))
    moved = (alone - fitted.logits[3:4]).abs().max()
    assert moved > 1e-3 * fitted.logits.abs().max(), "declared transductive, but the other queries do not matter"


def check_proposals(case: Case, folder: Path) -> None:
    """What a method proposes are models of its own, at steps that rise; the last of them is what it returns."""
    if case.role != "adaptation":
        return
    proposed: dict[int, Tensor] = {}
    test = _fake(case).test.x

    def note(step: int, model: Callable[[Tensor], Tensor]) -> None:
        assert all(step > before for before in proposed)
        proposed[step] = embed(model, test, None, torch.device("cpu"))

    fitted = run(case, folder, on_candidate=note)
    if proposed:
        assert torch.equal(proposed[max(proposed)], fitted.logits)
    assert torch.equal(fitted.logits, _plain(case, folder / "unseen").logits), "selection must not change the training"


CHECKS = (
    check_declaration,
    check_refusal,
    check_recipe,
    check_learns,
    check_reproducible,
    check_resumes,
    check_segments,
    check_low_precision,
    check_frozen_backbone,
    check_teacher,
    check_footprint,
    check_inductive,
    check_solving,
    check_proposals,
)


def _changed(case: Case) -> Case:
    """Return a case with another value of every parameter that may change while the method trains."""
    now = configure(case).model_dump(mode="json")
    space = space_of(type(configure(case)), now, {}, frozenset())
    changed = {}
    for dimension in space.dimensions:
        if dimension.name not in space.lasting and space.active(dimension, {}):
            draws = (dimension.near(now[dimension.name], Random(seed)) for seed in range(99))
            changed[dimension.name] = next(value for value in draws if value != now[dimension.name])
    return replace(case, params={**case.params, **changed})


def _corpus(fake: FakeTask, *, labelled: bool) -> Split:
    """Return the training examples of the fake dataset as the corpus of pre-training."""
    rows = fake.dataset.rows(TRAIN)
    return take(fake.dataset, rows, fake.dataset.y[rows] if labelled else None)


def _fake(case: Case) -> FakeTask:
    oracle = registry.declaration("methods", case.method).constants.ORACLE
    protocol, backbone = "classification" if case.role == PRETRAIN else case.role, case.backbone()
    return fake_task(protocol, "words" if backbone.info.weights == "none" else backbone.info.modality, oracle=oracle)


def _check_accuracy(fitted: Fitted, case: Case) -> None:
    assert torch.isfinite(fitted.logits).all()
    if case.role == PRETRAIN:
        return
    labels = _truth(fitted.fake)
    assert fitted.logits.shape == (len(labels), fitted.fake.task.info.classes)
    accuracy = (fitted.logits.argmax(1) == labels).double().mean().item()
    chance = 1 / fitted.fake.task.info.classes
    assert accuracy > chance + 0.3 * (1 - chance), f"accuracy {accuracy:.2f} where chance is {chance:.2f}"


def _predict(result: Any, fake: FakeTask, ctx: Context, queries: slice) -> Tensor:
    """Logits of the chosen test examples; in an episode, of those after the first three of each class."""
    if isinstance(result, EmbeddingEpisodeLearner | AdaptingEpisodeLearner):
        support, labels, query = _episode(result, fake, ctx)
        logits = result.classify(support[None], labels[None], query[queries][None], fake.task.info.classes)
        return logits[0].detach().cpu()
    if isinstance(result, FeaturePredictor):
        assert ctx.features is not None
        cached = result.head(ctx.features.take(fake.test.rows[queries]))
        live = result.logits(torch.from_numpy(fake.test.x[queries]))
        torch.testing.assert_close(live, cached, rtol=1e-3, atol=1e-3)
        return cached
    return embed(result.logits, fake.test.x[queries], None, ctx.device)


def _episode(
    learner: EmbeddingEpisodeLearner | AdaptingEpisodeLearner, fake: FakeTask, ctx: Context
) -> tuple[Tensor, Tensor, Tensor]:
    """Return support, its labels, and queries of the fake test, as the learner is handed them."""
    inputs, support = episode_inputs(learner, fake.test, ctx).to(ctx.device), _is_support(fake)
    return inputs[support], torch.from_numpy(fake.test.labels)[support].to(ctx.device), inputs[~support]


def _is_support(fake: FakeTask) -> Tensor:
    labels = fake.test.labels
    return torch.tensor([(labels[:place] == label).sum() < 3 for place, label in enumerate(labels)])


def _truth(fake: FakeTask) -> Tensor:
    labels = torch.from_numpy(fake.test.labels)
    return labels[~_is_support(fake)] if fake.task.info.protocol == "episodic" else labels


def _moved(fitted: Fitted) -> list[str]:
    """Return the names of the given backbone's parameters and buffers that are not what they were."""
    before, after = fitted.given.state_dict(), fitted.backbone.state_dict()
    return [name for name in before if not torch.equal(before[name], after[name])]


def _module(result: Any) -> nn.Module | None:
    if isinstance(result, ModulePredictor | AdaptingEpisodeLearner):
        return result.module
    return result.encoder if isinstance(result, EmbeddingEpisodeLearner) else None


def _same(p: Tensor, q: Tensor) -> bool:
    return p.shape == q.shape and torch.equal(p, q)


def _check_space(config: type[MethodConfig], name: str, default: Any, space: Any) -> None:
    if space["distribution"] == "choice":
        assert default is None or default in space["values"], f"{name}: the default {default!r} is none of its choices"
        ends = space["values"]
    else:
        assert space["low"] < space["high"]
        inside = default is None or space["low"] <= default <= space["high"]
        assert inside, f"{name}: the default {default!r} lies outside its space"
        ends = [space["low"], space["high"]]
    for value in ends:
        config(**{name: value})
