"""Two datasets with one label set, or two domains of one dataset, as source and target of an adaptation.

What the source holds out for testing validates here, since no method has trained on it, a pre-training on the source
included. The target keeps its own split, for the same reason. Every part that other protocols read is the target's: to
them a pair is its target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
from tlbench.data.dataset import SOURCE, SOURCE_VAL, TEST, TRAIN, Dataset
from tlbench.data.decoded import Decoded, canvas

VERSION = 2
_CHUNK = 1024
_SHOWN = 5
Rows = NDArray[np.int64]


def _texts(value: Any) -> Any:
    """Return a mapping whose whole numbers, as YAML reads a name like 3, are texts."""
    if not isinstance(value, dict):
        return value
    return {key: str(name) if type(name) is int else name for key, name in value.items()}


class Side(Settings):
    """A dataset, or one domain of it; its own parameters stand beside the name."""

    name: str
    domain: str | None = None
    classes: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
        default_factory=dict,
        description="the target's names of classes of the source that have others: {own: target's}",
    )
    params: dict[str, Any] = Field(default_factory=dict)


def _side(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        return value
    given = {key: item for key, item in value.items() if key not in Side.model_fields}
    return {key: item for key, item in value.items() if key in Side.model_fields} | ({"params": given} if given else {})


class Params(Settings):
    """The two sides."""

    source: Annotated[Side, BeforeValidator(_side)]
    target: Annotated[Side, BeforeValidator(_side)]


def label(source: Dataset, target: Dataset, params: Params) -> str:
    """Return what people read: the two names, or the one name and the two domains."""
    domains = params.source.domain, params.target.domain
    if source.info.name == target.info.name and None not in domains:
        return f"{source.info.name}: {domains[0]} -> {domains[1]}"
    return f"{_name(source, params.source)} -> {_name(target, params.target)}"


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
    ours, theirs = (_domain(side, said.domain) for side, said in ((source, params.source), (target, params.target)))
    if labels_shared(_part(source, params.source), _part(target, params.target)):
        raise UserError(f"{source.info.name}: source and target share examples", "give each side a domain of its own")
    if source.info.modality != target.info.modality:
        raise UserError(
            f"{source.info.name} is {source.info.modality} data, but {target.info.name} {target.info.modality} data"
        )
    position = _matched(source, target, params.source.classes)
    y = np.concatenate([position[source.y[ours]], target.y[theirs]])
    part = np.concatenate([np.where(source.part[ours] == TRAIN, SOURCE, SOURCE_VAL), target.part[theirs]])
    classes = target.info.classes
    names = _name(source, params.source), _name(target, params.target)
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
    warnings = [f"{side.info.name}: {text}" for side in (source, target) for text in side.info.warnings]
    if source.info.shape != target.info.shape:
        shapes = ("x".join(map(str, side.info.shape)) for side in (source, target))
        warnings.append("images of the source were brought from {} to {}".format(*shapes))
    for name, number in (("training", TRAIN), ("test", TEST)):
        absent = len(classes) - len(np.unique(y[part == number]))
        if absent:
            warnings.append(f"{absent} of {len(classes)} classes have no {name} example in the target")
    return Decoded(
        x=_inputs(source, ours, target, theirs, folder),
        y=y,
        part=part.astype(np.uint8),
        classes=classes,
        domain=np.repeat(np.arange(2), [len(ours), len(theirs)]),
        domains=("source", "target"),
        class_splits=target.info.class_splits,
        warnings=tuple(dict.fromkeys(warnings)),
        target=within(target.info.fingerprint, params.target.domain),
        group=None if target.group is None else _beside(target.group[theirs], len(ours)),
    )


def _part(dataset: Dataset, side: Side) -> DatasetInfo:
    """Return the facts of what one side takes: all classes of its domain."""
    facts, domain = dataset.info, side.domain
    places = {"fingerprint": within(facts.fingerprint, domain), "origin": within(facts.origin, domain)}
    return replace(facts, class_splits={}, **places)


def _name(dataset: Dataset, side: Side) -> str:
    """Return what people read of one side: the dataset's name, and the domain if there is one."""
    return dataset.info.name if side.domain is None else f"{dataset.info.name}/{side.domain}"


def _beside(groups: Rows, count: int) -> Rows:
    """Return the target's groups behind those of the source's examples, each of which stands alone."""
    return np.concatenate([groups.max() + 1 + np.arange(count), groups])


def _domain(dataset: Dataset, domain: str | None) -> Rows:
    """Return the rows of a domain, or all."""
    if domain is None:
        return np.arange(len(dataset.y))
    known = dataset.info.domains
    if domain not in known:
        hint = nearest(domain, known) if known else "it has no domains: leave domain out"
        raise UserError(f"{dataset.info.name} has no domain {domain!r}", hint)
    return np.flatnonzero(dataset.domain == known.index(domain))


def _matched(source: Dataset, target: Dataset, said: Mapping[str, str]) -> Rows:
    """Return the target's label of each label of the source."""
    ours, theirs = _renamed(source, target, said), target.info.classes
    if set(ours) != set(theirs):
        missing = [sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))]
        told = [
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
            f"{source.info.name} and {target.info.name} must have the same classes: {'; '.join(told)}", hint
        )
    return np.array([theirs.index(name) for name in ours])


def _renamed(source: Dataset, target: Dataset, said: Mapping[str, str]) -> list[str]:
    """Return the names of the source's classes as the target has them."""
    ours, theirs = source.info.classes, target.info.classes
    for side, role, names in ((source, "source", said), (target, "target", said.values())):
        unknown = next((name for name in names if name not in side.info.classes), None)
        if unknown is not None:
            hint = nearest(unknown, side.info.classes)
            raise UserError(f"classes of the source: the {role} {side.info.name} has no class {unknown!r}", hint)
    renamed = [said.get(name, name) for name in ours]
    twice = next((name for name, count in Counter(renamed).items() if count > 1), None)
    if twice is not None:
        both = [repr(name) for name, new in zip(ours, renamed, strict=True) if new == twice]
        own = next(name for name in ours if said.get(name) == twice)
        free = set(theirs) - set(renamed)
        raise UserError(
            f"classes of the source: {' and '.join(both)} of {source.info.name} become one, {twice!r}",
            f"for {own!r}: {nearest(own, free)}" if free else "the target has too few classes",
        )
    return renamed


def _refuse_unlearnable(name: str, labels: Rows, classes: Sequence[str]) -> None:
    count = np.bincount(labels, minlength=len(classes))
    if count.min() == 0:
        few = [classes[label] for label in np.flatnonzero(count == 0)]
        more = f" (nor have {len(few) - 1} more classes)" if len(few) > 1 else ""
        raise UserError(
            f"class {few[0]!r} has no training example in the source {name}{more}",
            "a source teaches every class: give it more examples",
        )


def _inputs(source: Dataset, ours: Rows, target: Dataset, theirs: Rows, folder: Path) -> Any:
    if not isinstance(source.x, np.ndarray) or not isinstance(target.x, np.ndarray):
        return [side.x[int(row)] for side, rows in ((source, ours), (target, theirs)) for row in rows]
    channels, height, width = target.info.shape
    x = canvas(folder, len(ours) + len(theirs), (channels, height, width))
    start = 0
    for side, rows in ((source, ours), (target, theirs)):
        for piece in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            x[start : start + len(piece)] = _fitted(side.x[piece], target.info.shape, source.info.name)
            start += len(piece)
    return x


def _fitted(x: Any, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    """Return images (n, C, H, W) in a shape (C, H, W)."""
    if x.shape[1:] == shape:
        return np.asarray(x)
    from PIL import Image

    from tlbench.data.image_decoding import fit

    channels, height, width = shape
    if height != width and x.shape[2:] != (height, width):
        raise UserError(f"{name}: its images cannot be brought to {width}x{height}", "give both sides one image_size")
    size = height if height == width else None
    grey = x.shape[1] == 1
    images = (Image.fromarray(each[0] if grey else np.ascontiguousarray(each.transpose(1, 2, 0))) for each in x)
    return np.stack([fit(image, name, channels, size) for image in images])
