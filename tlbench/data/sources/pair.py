"""Two datasets with one label set, or two domains of one dataset, as source and target of an adaptation.

The test examples of the source are for validation here, since nothing has trained on them, a pre-training on the
source included. The target keeps its own split, for the same reason. The parts that other protocols read (TRAIN, VAL,
TEST) are the target's: to them a pair is its target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import DatasetInfo
from tlbench.core.label_provenance import labels_shared, within
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset, with_origin
from tlbench.data.decoded import Decoded, canvas
from tlbench.data.image_decoding import fit
from tlbench.data.mixed_images import MixedImages, to_image
from tlbench.data.source import Member, Opener
from tlbench.data.subsets import Domain, domain_names, domain_rows, with_domain

VERSION = 2
JOINS = ("source", "target")
PAIR = True
_CHUNK = 1024
_SHOWN = 5
Rows = NDArray[np.int64]


def _names_as_texts(value: Any) -> Any:
    """Return a mapping whose whole numbers, as YAML reads a name like 3, are texts."""
    if not isinstance(value, dict):
        return value
    return {key: str(name) if type(name) is int else name for key, name in value.items()}


class Side(Member):
    """A dataset, or some domains of it, with names for its classes."""

    classes: Annotated[dict[str, str], BeforeValidator(_names_as_texts)] = Field(
        default_factory=dict,
        description="the target's names of classes of the source that have others: {own: target's}",
    )


class Params(Settings):
    """The two sides."""

    source: Side
    target: Side


def check(params: Params) -> None:
    """Refuse other names for the classes of the target, and a target of several domains.

    Raises:
        UserError: Naming the target.
    """
    if not isinstance(params.target.domain, str | None):
        raise UserError("domain of the 'target': several", "a target is one domain; a source may have several")
    if params.target.classes:
        raise UserError("classes of the target keep their names, as 'target'", "give classes to the source")


def open(params: Params, opener: Opener) -> Dataset:
    """Open source and target and join them. The result comes from where the target does.

    Raises:
        UserError: One of them cannot be opened, or :func:`join` refuses them.
    """
    source, target = opener.dataset(params.source), opener.dataset(params.target)
    content = [
        [dataset.info.name, dataset.info.fingerprint, dataset.info.origin, side.domain, side.classes]
        for dataset, side in ((source, params.source), (target, params.target))
    ]
    dataset = opener.decode_once(
        label(source, target, params), [content], lambda folder: join(source, target, params, folder)
    )
    return with_origin(dataset, within(target.info.origin, _only(params.target.domain)))


def label(source: Dataset, target: Dataset, params: Params) -> str:
    """Return how people call the pair: by the two names, or by the one name and the two domains."""
    domains = params.source.domain, params.target.domain
    if source.info.name == target.info.name and None not in domains:
        sources = domain_names(params.source.domain)
        others = len(sources) > 1 and {*sources, domains[1]} == set(target.info.domains)
        return f"{source.info.name}: {'others' if others else '+'.join(sources)} -> {domains[1]}"
    names = with_domain(source.info.name, params.source.domain), with_domain(target.info.name, params.target.domain)
    return " -> ".join(names)


def join(source: Dataset, target: Dataset, params: Params, folder: Path) -> Decoded:
    """Return source and target as one dataset of two domains, the source's examples first.

    Images of the source are brought to the shape of the target's, as a folder's images are to an ``image_size``.
    Labels are matched by the classes' names, of which those of the source may be said to be others.

    Args:
        source: An opened dataset.
        target: Another, or the same.
        params: Which domain of each counts.
        folder: Where images are written.

    Raises:
        UserError: A domain or class is unknown, the two are the same, differ in their classes or in what they hold, a
            class has no example to learn it from in the source, or the target has too few examples.
    """
    ours, theirs = domain_rows(source, params.source.domain), domain_rows(target, params.target.domain)
    (own,) = _facts(target, params.target)
    if any(labels_shared(facts, own) for facts in _facts(source, params.source)):
        raise UserError(f"{source.info.name}: source and target share examples", "give each side a domain of its own")
    if source.info.modality != target.info.modality:
        raise UserError(
            f"{source.info.name} is {source.info.modality} data, but {target.info.name} {target.info.modality} data"
        )
    label_in_target = _match_classes(source, target, params.source.classes)
    y = np.concatenate([label_in_target[source.y[ours]], target.y[theirs]])
    part = np.concatenate([np.where(source.part[ours] == TRAIN, SOURCE, SOURCE_VAL), target.part[theirs]])
    classes = target.info.classes
    names = with_domain(source.info.name, params.source.domain), with_domain(target.info.name, params.target.domain)
    _refuse_unlearnable(names[0], y[part == SOURCE], classes)
    for side, name, number in (
        ("source", names[0], SOURCE_VAL),
        ("target", names[1], TRAIN),
        ("target", names[1], TEST),
    ):
        if not (part == number).any():
            missing = "training" if number == TRAIN else "held-out"
            raise UserError(f"the {side} {name} has no {missing} example", "name another domain")
    if (part == TRAIN).sum() == 1:
        raise UserError(
            f"the target {names[1]} has only one training example", "a distribution needs two or more: give it more"
        )
    return Decoded(
        x=_join_inputs(source, ours, target, theirs, folder),
        y=y,
        part=part.astype(np.uint8),
        classes=classes,
        domain=np.repeat(np.arange(2), [len(ours), len(theirs)]),
        domains=("source", "target"),
        class_splits=target.info.class_splits,
        warnings=_warnings(source, target, y, part),
        target=within(target.info.fingerprint, _only(params.target.domain)),
        group=None if target.group is None else _beside(target.group[theirs], len(ours)),
    )


def _warnings(
    source: Dataset, target: Dataset, y: NDArray[np.int64], part: NDArray[np.integer[Any]]
) -> tuple[str, ...]:
    """Return what a reader of results must know of a pair with labels ``y`` (N,) and parts ``part`` (N,)."""
    warnings = [f"{side.info.name}: {text}" for side in (source, target) for text in side.info.warnings]
    if source.info.shape != target.info.shape and all(target.info.shape):
        shapes = ("x".join(map(str, side.info.shape)) for side in (source, target))
        warnings.append("images of the source were brought from {} to {}".format(*shapes))
    classes = len(target.info.classes)
    for name, number in (("training", TRAIN), ("test", TEST)):
        absent = classes - len(np.unique(y[part == number]))
        if absent:
            warnings.append(f"{absent} of {classes} classes have no {name} example in the target")
    return tuple(dict.fromkeys(warnings))


def _facts(dataset: Dataset, side: Side) -> Iterator[DatasetInfo]:
    """Yield the facts of each domain of one side: of all its classes."""
    facts = dataset.info
    for domain in domain_names(side.domain) or (None,):
        yield replace(
            facts,
            class_splits={},
            fingerprint=within(facts.fingerprint, domain),
            origin=within(facts.origin, domain),
        )


def _only(domain: Domain) -> str | None:
    """Return the domain of a target, which has one or none (:func:`check`)."""
    return domain if isinstance(domain, str) else None


def _beside(groups: Rows, count: int) -> Rows:
    """Return the target's groups behind those of the source's examples, each of which stands alone."""
    return np.concatenate([groups.max() + 1 + np.arange(count), groups])


def _match_classes(source: Dataset, target: Dataset, other_names: Mapping[str, str]) -> Rows:
    """Return the target's label of each label of the source.

    Args:
        source: The source.
        target: The target.
        other_names: The target's name of each class of the source that the source calls otherwise.
    """
    ours, theirs = _renamed(source, target, other_names), target.info.classes
    if set(ours) != set(theirs):
        missing = [sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))]
        differences = [
            f"only {side.info.name} has {', '.join(map(repr, names[:_SHOWN]))}"
            + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            for side, names in zip((source, target), missing, strict=True)
            if names
        ]
        hint = "classes are matched by their names"
        if all(missing):
            own, other = (names[0] for names in missing)
            hint += (
                f"; if some are only called otherwise, give the source classes, e.g. classes: {{{own!r}: {other!r}}}"
            )
        raise UserError(
            f"{source.info.name} and {target.info.name} must have the same classes: {'; '.join(differences)}", hint
        )
    return np.array([theirs.index(name) for name in ours])


def _renamed(source: Dataset, target: Dataset, other_names: Mapping[str, str]) -> list[str]:
    """Return the names of the source's classes as the target has them."""
    ours, theirs = source.info.classes, target.info.classes
    for side, role, names in ((source, "source", other_names), (target, "target", other_names.values())):
        unknown = next((name for name in names if name not in side.info.classes), None)
        if unknown is not None:
            hint = nearest(unknown, side.info.classes)
            raise UserError(f"classes of the source: the {role} {side.info.name} has no class {unknown!r}", hint)
    renamed = [other_names.get(name, name) for name in ours]
    twice = next((name for name, count in Counter(renamed).items() if count > 1), None)
    if twice is not None:
        both = [repr(name) for name, new in zip(ours, renamed, strict=True) if new == twice]
        own = next(name for name in ours if other_names.get(name) == twice)
        free = set(theirs) - set(renamed)
        raise UserError(
            f"classes of the source: {' and '.join(both)} of {source.info.name} become one, {twice!r}",
            f"for {own!r}: {nearest(own, free)}" if free else "the target has too few classes",
        )
    return renamed


def _refuse_unlearnable(name: str, labels: Rows, classes: Sequence[str]) -> None:
    count = np.bincount(labels, minlength=len(classes))
    if count.min() == 0:
        few = [classes[label] for label in np.flatnonzero(count == 0).tolist()]
        more = f" (nor have {len(few) - 1} more classes)" if len(few) > 1 else ""
        raise UserError(
            f"class {few[0]!r} has no training example in the source {name}{more}",
            "a source teaches every class: give it more examples",
        )


def _join_inputs(
    source: Dataset, ours: Rows, target: Dataset, theirs: Rows, folder: Path
) -> NDArray[np.uint8] | MixedImages | list[str]:
    """Return texts, or images in the target's shape: the source's first. Images of several sizes keep theirs."""
    sides = ((source, ours), (target, theirs))
    if target.info.modality == "text":
        return [str(side.x[row]) for side, rows in sides for row in rows.tolist()]
    if isinstance(target.x, MixedImages):
        pixels = [np.asarray(side.x[row]) for side, rows in sides for row in rows.tolist()]
        mixed = MixedImages.create(folder, [image.shape[1:] for image in pixels], target.x.channels)
        for row, image in enumerate(pixels):
            mixed[row][:] = fit(to_image(image), source.info.name, mixed.channels, None)
        return mixed
    channels, height, width = target.info.shape
    x = canvas(folder, len(ours) + len(theirs), (channels, height, width))
    start = 0
    for side, rows in sides:
        for piece in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            images = [np.asarray(side.x[row]) for row in piece.tolist()]
            x[start : start + len(piece)] = _fitted(images, target.info.shape, source.info.name)
            start += len(piece)
    return x


def _fitted(images: Sequence[NDArray[np.uint8]], shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Return images (C, H, W), as one array (n, C, H, W), in a shape."""
    if all(image.shape == shape for image in images):
        return np.stack(images) if images else np.empty((0, *shape), np.uint8)
    channels, height, width = shape
    if height != width and any(image.shape[1:] != (height, width) for image in images):
        raise UserError(f"{name}: its images cannot be brought to {width}x{height}", "give both sides one image_size")
    size = height if height == width else None
    return np.stack([fit(to_image(image), name, channels, size) for image in images])
