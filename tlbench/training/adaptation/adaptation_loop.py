"""The one loop over steps with two domains: every method that adapts by gradient runs it.

A method gives its loss; selection is no part of it. At regular steps the loop proposes the model as it is
(:meth:`Context.propose`), the protocol notes what it answers, and chooses among the answers when training is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.core.config import AdaptationConfig, Augment, BatchNorm
from tlbench.data.dataset import Split, Task
from tlbench.training.adaptation.bottleneck_classifier import BottleneckClassifier
from tlbench.training.augmentation import apply_transforms, sample_transforms
from tlbench.training.batches import Examples
from tlbench.training.classifier import train_mode
from tlbench.training.collectives import gather_rows
from tlbench.training.context import Context
from tlbench.training.parameter_groups import ParameterGroup, check_coverage, make_optimizer, scale_rates
from tlbench.training.precision import at_least_float32
from tlbench.training.schedules import inverse_decay, warmup_cosine

Part = Literal["source", "shots", "target"]
PARTS: tuple[Part, ...] = ("source", "shots", "target")
_UNKNOWN = -1


class DomainOutputs(NamedTuple):
    """What the network makes of one domain's share of a global batch; alike in every process.

    Attributes:
        rows: Positions in the split (n,), on the CPU.
        y: Labels (n,); -1 where the split has none.
        z: The features that the head reads (n, D), in single or double precision.
        logits: (n, classes), likewise.
    """

    rows: Tensor
    y: Tensor
    z: Tensor
    logits: Tensor


class AdaptationStep(NamedTuple):
    """One step, all of it from a single forward pass over everything together. A part that is not read has no rows.

    Attributes:
        source: Labelled examples of the source (``task.source``).
        shots: Labelled examples of the target (``task.train``); no rows where there are none.
        target: Examples of the target without labels (``task.unlabeled``).
        progress: Steps taken over steps in all, in [0, 1).
    """

    source: DomainOutputs
    shots: DomainOutputs
    target: DomainOutputs
    progress: float


Loss = Callable[[AdaptationStep], dict[str, Tensor]]
"""A step -> terms by name, each a mean over the global batch; their sum is minimised, NAME is logged as train_NAME."""


def train_on_domains(
    model: BottleneckClassifier,
    groups: list[ParameterGroup],
    task: Task,
    cfg: AdaptationConfig,
    ctx: Context,
    loss: Loss,
    *,
    more: nn.Module | None = None,
    reads: Collection[Part] = PARTS,
    batch_norm: BatchNorm = "train",
    before: int = 0,
    proposes: bool = True,
    refresh: Callable[[], None] | None = None,
    name: str = "fit",
) -> None:
    """Train in place, and leave the last step's weights.

    Every step takes ``cfg.batch_size`` examples of each part that is read (all of them where there are fewer), from
    streams that go on for ever: each pass over a part has a fresh order and drops what does not fill a batch. Nothing
    depends on how long the other part is. The network runs once, over all parts together, so that batch normalisation
    sees them together. In a data-parallel run each process computes its piece of that, and then the same loss of the
    whole global batch, whose features are joined: kernels, confusions and the statistics of a discriminator are over
    the global batch without further ado.

    Args:
        model: The classifier.
        groups: :meth:`BottleneckClassifier.groups`; an exact cover of all that is trained.
        task: Its ``source``, ``train`` and ``unlabeled`` are the parts.
        cfg: How to train.
        ctx: Device, randomness, epochs, processes, and who is told of proposals.
        loss: What to minimise.
        more: What is trained beside the classifier, as a discriminator; on the right device and in training mode when
            ``loss`` is called, resumed with the rest, and part of no proposal.
        reads: The parts that go into a batch.
        batch_norm: Whether the classifier's running statistics move or stay.
        before: Steps of earlier trainings in this cell; proposals and curves count on from there.
        proposes: Whether models are proposed for selection.
        refresh: Called at the start and after every proposal but the last, as for labels that the model itself gives;
            it may leave the model in either mode.
        name: Tells the trainings of one cell apart.
    """
    trained = nn.ModuleDict({"model": model} | ({} if more is None else {"more": more})).to(ctx.device)
    check_coverage(trained, groups)
    if ctx.device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(cfg.optimizer, groups)
    splits = {"source": task.source, "shots": task.train, "target": task.unlabeled}
    streams = {
        part: _Stream(split, cfg.batch_size, cfg.augment, ctx, name, part)
        for part in PARTS
        if part in reads and (split := splits[part]) is not None and len(split)
    }
    forward = _Forward(model, streams, ctx)
    checks = min(cfg.checks, cfg.steps)
    for check in ctx.epochs(checks, trained, name=name, optimizer=optimizer):
        first, last = cfg.steps * check // checks, cfg.steps * (check + 1) // checks
        if refresh is not None:
            refresh()
        trained.train()
        train_mode(model, batch_norm)
        seen: dict[str, Tensor] = {}
        for taken in range(first, last):
            scale_rates(optimizer, _rate(cfg, taken))
            terms = loss(forward(taken, cfg.steps))
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            for key, value in terms.items():
                seen[key] = seen.get(key, 0) + value.detach()
        ctx.log(before + last, **{f"train_{key}": value.item() / (last - first) for key, value in seen.items()})
        if proposes:
            ctx.propose(before + last, model)


def supervised_loss(step: AdaptationStep, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of the labelled examples; source and target weigh alike where both have labels."""
    labelled = [part for part in (step.source, step.shots) if len(part.y)]
    return torch.stack([cross_entropy(part.logits, part.y, label_smoothing=smoothing) for part in labelled]).mean()


def _rate(cfg: AdaptationConfig, step: int) -> float:
    return inverse_decay(step / cfg.steps) if cfg.schedule == "inverse" else warmup_cosine(step, cfg.steps, 0)


class _Both(nn.Module):
    """The classifier, answering with features and logits side by side (B, D + classes)."""

    def __init__(self, model: BottleneckClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        z = self.model.encode(x)
        return torch.cat([z, self.model.head(z)], 1)


class _Stream:
    """Batches without end from one part; which examples a step takes depends on the step's number alone.

    Args:
        split: The part.
        size: Largest batch.
        augment: How images are moved.
        ctx: Device and randomness.
        purpose: Names the stream's randomness.
    """

    def __init__(self, split: Split, size: int, augment: Augment, ctx: Context, *purpose: str) -> None:
        labels = split.y if split.y is not None else np.full(len(split), _UNKNOWN)
        self._examples = Examples(Split(lambda: split.x, labels, split.rows), ctx.device)
        self._augment: Augment = augment if len(self._examples.shape) == 3 else "none"
        self._size = min(size, len(split))
        self._ctx = ctx
        self._purpose = purpose
        self._pass: tuple[int, Tensor] = (-1, torch.empty(0))

    def rows(self, step: int) -> Tensor:
        """Return the positions (n,) that a step takes."""
        number, place = divmod(step, len(self._examples) // self._size)
        if number != self._pass[0]:
            generator = self._ctx.generator(*self._purpose, "order", number)
            self._pass = number, torch.randperm(len(self._examples), generator=generator)
        return self._pass[1][place * self._size : (place + 1) * self._size]

    def labels(self, rows: Tensor) -> Tensor:
        """Return the labels (n,) of some positions, on the device."""
        return self._examples.y[rows.to(self._examples.y.device)]

    def inputs(self, rows: Tensor, step: int, own: slice) -> Tensor:
        """Return the moved inputs of this process's slice of a step's positions."""
        x, _ = self._examples.take(rows[own])
        if self._augment == "none":
            return x
        generator = self._ctx.generator(*self._purpose, "moves", step)
        return apply_transforms(x, sample_transforms(self._augment, len(rows), self._examples.shape, generator)[own])


class _Forward:
    """Runs the network once over all parts of a step, and takes the answers apart again by their sizes."""

    def __init__(self, model: BottleneckClassifier, streams: dict[Part, _Stream], ctx: Context) -> None:
        self._width = model.out_dim
        self._network = ctx.wrap(_Both(model))
        self._streams = streams
        self._ctx = ctx

    def __call__(self, step: int, steps: int) -> AdaptationStep:
        """Return what the network makes of a step's batch."""
        rows = {part: stream.rows(step) for part, stream in self._streams.items()}
        sizes = [len(each) for each in rows.values()]
        with self._ctx.autocast():
            both = self._network(torch.cat(self._inputs(rows, step)))
        both = gather_rows(at_least_float32(both), sum(sizes), self._ctx)
        pieces = dict(zip(rows, both.split(sizes), strict=True))
        none = torch.empty(0, dtype=torch.int64)
        answers = {}
        for part in PARTS:
            at, piece = rows.get(part, none), pieces.get(part, both[:0])
            y = self._streams[part].labels(at) if part in rows else none.to(both.device)
            answers[part] = DomainOutputs(at, y, piece[:, : self._width], piece[:, self._width :])
        return AdaptationStep(**answers, progress=step / steps)

    def _inputs(self, rows: dict[Part, Tensor], step: int) -> list[Tensor]:
        """Return this process's piece of the global batch, part by part."""
        own = self._ctx.shard(torch.arange(sum(map(len, rows.values())))).tolist()
        found, start = [], 0
        for part, at in rows.items():
            low, high = (min(max(end - start, 0), len(at)) for end in (own[0], own[-1] + 1))
            found.append(self._streams[part].inputs(at, step, slice(low, high)))
            start += len(at)
        return found
