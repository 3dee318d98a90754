"""The training loop over two domains: every method of domain adaptation that trains by gradient descent runs it.

A method provides the loss; model selection is left to the protocol. At regular intervals the loop offers the current
model as a candidate (:meth:`Context.add_candidate`); the protocol stores its outputs and selects among the candidates
when training is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.core.config import AdaptationConfig, BatchNorm
from tlbench.data.dataset import Split, Task
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.augmentation.policy import UNCHANGED, Augmentation, apply_changes
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.collectives import gather_rows
from tlbench.training.context import Context
from tlbench.training.parameter_groups import ParameterGroup, check_coverage, make_optimizer, scale_rates
from tlbench.training.precision import at_least_float32
from tlbench.training.recipe import usual_augmentation
from tlbench.training.schedules import inverse_decay, warmup_cosine

Part = Literal["source", "shots", "target"]
PARTS: tuple[Part, ...] = ("source", "shots", "target")
"""The parts of a task: labelled source, labelled target (``task.train``) and unlabelled target examples."""

_UNKNOWN = -1


class DomainOutputs(NamedTuple):
    """The network's outputs for one part of a global batch; the same in every process.

    Attributes:
        rows: Positions in the split (n,), on the CPU.
        y: Labels (n,); -1 where the split has none.
        z: The features that the head reads (n, D), in float32 or float64.
        logits: Logits (n, classes), in float32 or float64.
    """

    rows: Tensor
    y: Tensor
    z: Tensor
    logits: Tensor


class AdaptationStep(NamedTuple):
    """The outputs of one training step, from a single forward pass over all parts. A part that is not read is empty.

    Attributes:
        source: Labelled examples of the source (``task.source``).
        shots: Labelled examples of the target (``task.train``); empty where there are none.
        target: Unlabelled examples of the target (``task.unlabeled``).
        progress: Steps taken over the total number of steps, in [0, 1).
    """

    source: DomainOutputs
    shots: DomainOutputs
    target: DomainOutputs
    progress: float


Loss = Callable[[AdaptationStep], dict[str, Tensor]]
"""A step -> loss terms by name, each a mean over the global batch. Their sum is minimised; NAME is logged as
``train_NAME``."""


@dataclass(frozen=True)
class DomainOptions:
    """What a method may change about the loop.

    Attributes:
        auxiliary: A module that is trained beside the classifier, such as a discriminator. It is on the right device
            and in training mode when the loss is computed, and is part of no candidate.
        parts: The parts of which a batch consists.
        batch_norm: Whether the classifier's running statistics of batch normalisation are updated.
        first_step: Number of steps of earlier trainings in this cell, from which candidates and curves continue to
            count.
        adds_candidates: Whether models are offered as candidates for selection.
        refresh: Called at the start and after every candidate but the last, e.g. to compute pseudo-labels; it may leave
            the model in either mode.
        name: Name of the training, unique within the cell.
    """

    auxiliary: nn.Module | None = None
    parts: tuple[Part, ...] = PARTS
    batch_norm: BatchNorm = "train"
    first_step: int = 0
    adds_candidates: bool = True
    refresh: Callable[[], None] | None = None
    name: str = "fit"


DEFAULT_OPTIONS = DomainOptions()


def train_on_domains(
    model: BottleneckClassifier,
    groups: list[ParameterGroup],
    task: Task,
    cfg: AdaptationConfig,
    ctx: Context,
    loss: Loss,
    options: DomainOptions = DEFAULT_OPTIONS,
) -> None:
    """Train a classifier in place; afterwards it has the weights of the last step.

    Every step takes ``cfg.batch_size`` examples of each part (all of them where there are fewer), from infinite
    streams: each pass over a part has a new order and drops the last incomplete batch, independently of the length of
    the other parts. The network runs once over all parts together, so that they share batch statistics. In a group,
    each process computes the outputs of its shard; the outputs of all processes are gathered, and every process
    computes the same loss of the whole global batch. So kernels, confusion matrices and the batch statistics of a
    discriminator are over the global batch.

    Args:
        model: The classifier.
        groups: :meth:`BottleneckClassifier.groups`; they cover each trained parameter once.
        task: Provides the parts: ``source``, ``train`` and ``unlabeled``.
        cfg: Steps, batch size, optimiser and schedule.
        ctx: Device, randomness, epochs, processes, and the receiver of candidates.
        loss: The loss to minimise.
        options: Changes to the loop.
    """
    modules = {"model": model} | ({} if options.auxiliary is None else {"auxiliary": options.auxiliary})
    trained = nn.ModuleDict(modules).to(ctx.device)
    check_coverage(trained, groups)
    optimizer = make_optimizer(cfg.optimizer, groups)
    forward = _Forward(model, _streams(task, cfg, ctx, options), ctx)
    checks = min(cfg.checks, cfg.steps)
    for check in ctx.epochs(checks, trained, {"optimizer": optimizer}, name=options.name):
        first, last = cfg.steps * check // checks, cfg.steps * (check + 1) // checks
        if options.refresh is not None:
            options.refresh()
        trained.train()
        train_mode(model, options.batch_norm)
        loss_sums: dict[str, Tensor] = {}
        for step in range(first, last):
            scale_rates(optimizer, _rate_factor(cfg, step))
            terms = loss(forward(step, cfg.steps))
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            for key, value in terms.items():
                loss_sums[key] = loss_sums.get(key, 0) + value.detach()
        means = {f"train_{key}": value.item() / (last - first) for key, value in loss_sums.items()}
        ctx.log(options.first_step + last, **means)
        if options.adds_candidates:
            ctx.add_candidate(options.first_step + last, model)


def supervised_loss(step: AdaptationStep, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of the labelled examples; source and target have equal weight if both have labels.

    Args:
        step: The outputs of a training step.
        smoothing: Label smoothing.
    """
    labelled = [part for part in (step.source, step.shots) if len(part.y)]
    return torch.stack([cross_entropy(part.logits, part.y, label_smoothing=smoothing) for part in labelled]).mean()


def _rate_factor(cfg: AdaptationConfig, step: int) -> float:
    return inverse_decay(step / cfg.steps) if cfg.schedule == "inverse" else warmup_cosine(step, cfg.steps, 0)


class _FeaturesAndLogits(nn.Module):
    """The classifier with features and logits side by side as output (B, D + classes)."""

    def __init__(self, model: BottleneckClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        z = self.model.encode(x)
        return torch.cat([z, self.model.head(z)], 1)


class _Stream:
    """An infinite stream of batches of one part; the examples of a step depend on the step's number alone.

    Args:
        split: The part.
        size: Largest batch.
        augmentation: Augmentation of images.
        ctx: Device and randomness.
        purpose: Purpose of the stream's randomness.
    """

    def __init__(
        self, split: Split, size: int, augmentation: Augmentation, ctx: Context, purpose: tuple[str, str]
    ) -> None:
        labels = split.y if split.y is not None else np.full(len(split), _UNKNOWN)
        self._examples = Examples(Split(lambda: split.x, labels, split.rows), ctx.device)
        self._augmentation = augmentation if len(self._examples.shape) == 3 else UNCHANGED
        self._size = min(size, len(split))
        self._ctx = ctx
        self._purpose = purpose
        self._pass: tuple[int, Tensor] = (-1, torch.empty(0))

    def rows(self, step: int) -> Tensor:
        """Return the positions (n,) in the split of the examples of a step."""
        number, place = divmod(step, len(self._examples) // self._size)
        if number != self._pass[0]:
            generator = self._ctx.generator(*self._purpose, "order", number)
            self._pass = number, torch.randperm(len(self._examples), generator=generator)
        return self._pass[1][place * self._size : (place + 1) * self._size]

    def labels(self, rows: Tensor) -> Tensor:
        """Return the labels (n,) at some positions, on the device."""
        return self._examples.y[rows.to(self._examples.y.device)]

    def inputs(self, rows: Tensor, step: int, own: slice) -> Tensor:
        """Return the augmented inputs of this process's slice of a step's positions."""
        x, _ = self._examples.take(rows[own])
        if not self._augmentation.changes_images:
            return x
        generator = self._ctx.generator(*self._purpose, "moves", step)
        changes = self._augmentation.sample(len(rows), self._examples.shape, generator)
        return apply_changes(x, changes.map(lambda drawn: drawn[own]))


def _streams(task: Task, cfg: AdaptationConfig, ctx: Context, options: DomainOptions) -> dict[Part, _Stream]:
    """Return the streams of the parts that are read and not empty, in the order of :data:`PARTS`."""
    splits: dict[Part, Split | None] = {"source": task.source, "shots": task.train, "target": task.unlabeled}
    read = {
        part: split for part in PARTS if part in options.parts and (split := splits[part]) is not None and len(split)
    }
    augmentation = domain_augmentation(task, cfg, ctx)
    return {
        part: _Stream(split, cfg.batch_size, augmentation, ctx, (options.name, part)) for part, split in read.items()
    }


def domain_augmentation(task: Task, cfg: AdaptationConfig, ctx: Context) -> Augmentation:
    """Return how a method's training images change, whichever parts it reads: ``auto`` depends on both domains."""
    domains = [split for split in (task.source, task.unlabeled) if split is not None and len(split)]
    return usual_augmentation(cfg, domains, ctx)


class _Forward:
    """Runs the network once over all parts of a step, and splits the outputs into parts again."""

    def __init__(self, model: BottleneckClassifier, streams: Mapping[Part, _Stream], ctx: Context) -> None:
        self._width = model.out_dim
        self._network = ctx.wrap(_FeaturesAndLogits(model))
        self._streams = streams
        self._ctx = ctx

    def __call__(self, step: int, steps: int) -> AdaptationStep:
        """Return the outputs for a step's global batch, of ``steps`` in all."""
        rows = {part: stream.rows(step) for part, stream in self._streams.items()}
        sizes = [len(positions) for positions in rows.values()]
        with self._ctx.autocast():
            joint = self._network(torch.cat(self._inputs(rows, step)))
        joint = gather_rows(at_least_float32(joint), sum(sizes), self._ctx.group)
        pieces = dict(zip(rows, joint.split(sizes), strict=True))
        empty = torch.empty(0, dtype=torch.int64)

        def outputs(part: Part) -> DomainOutputs:
            positions, piece = rows.get(part, empty), pieces.get(part, joint[:0])
            y = self._streams[part].labels(positions) if part in rows else empty.to(joint.device)
            return DomainOutputs(positions, y, piece[:, : self._width], piece[:, self._width :])

        return AdaptationStep(outputs("source"), outputs("shots"), outputs("target"), step / steps)

    def _inputs(self, rows: Mapping[Part, Tensor], step: int) -> list[Tensor]:
        """Return the inputs of this process's shard of the global batch, part by part."""
        own = self._ctx.shard(torch.arange(sum(map(len, rows.values())))).tolist()
        inputs, start = [], 0
        for part, positions in rows.items():
            low, high = (min(max(end - start, 0), len(positions)) for end in (own[0], own[-1] + 1))
            inputs.append(self._streams[part].inputs(positions, step, slice(low, high)))
            start += len(positions)
        return inputs
