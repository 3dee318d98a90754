"""A part of another dataset: one domain or some, or at most so many examples of each class.

A suite that compares many methods on a large dataset may test on a fixed sample of it, the same for all of them. The
examples keep their split; the sample depends on the dataset's content alone. Classes that a domain does not have are
no classes of the part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.label_provenance import within
from tlbench.data.dataset import TEST, TRAIN, VAL, Dataset, with_origin
from tlbench.data.decoded import Decoded
from tlbench.data.source import Member, Opener
from tlbench.data.subsets import copy_inputs, domain_names, domain_rows, sample_rows, with_domain

VERSION = 1
JOINS = ("of",)
_PARTS = {"train": TRAIN, "val": VAL, "test": TEST}
_Count = Annotated[int, Field(ge=1)]


class PerClass(Settings):
    """The most examples of each class, by part; all of a part where there is no number."""

    train: _Count | None = None
    val: _Count | None = None
    test: _Count | None = None


def _same_for_all(value: Any) -> Any:
    """Return a number of examples as that of each part."""
    return dict.fromkeys(_PARTS, value) if isinstance(value, int) and not isinstance(value, bool) else value


class Params(Settings):
    """What it is a part of, and which part."""

    of: Member
    per_class: Annotated[PerClass | None, BeforeValidator(_same_for_all)] = Field(
        None, description="the most examples of each class in each part, or {train: n, val: n, test: n}"
    )


def check(params: Params) -> None:
    """Refuse a part that is the whole.

    Raises:
        UserError: Neither a domain nor a number of examples is given.
    """
    if params.of.domain is None and params.per_class is None:
        raise UserError("'subset' of everything", "give a domain beside the name, or per_class: {train: n, test: n}")


def open(params: Params, opener: Opener) -> Dataset:
    """Open the dataset and take the part.

    Raises:
        UserError: It cannot be opened, has no such domain, or a class has no example in the part.
    """
    whole = opener.dataset(params.of)
    most = _most(params)
    content = [whole.info.name, whole.info.fingerprint, params.of.domain, sorted(most.items())]
    part = opener.decode_once(label(whole, params), [content], lambda folder: select(whole, params, folder))
    domains = domain_names(params.of.domain)
    return with_origin(part, within(whole.info.origin, domains[0] if len(domains) == 1 else None))


def label(whole: Dataset, params: Params) -> str:
    """Return how people call the part: by the dataset's name, the domains, and the numbers of examples."""
    name = with_domain(whole.info.name, params.of.domain)
    if params.per_class is None:
        return name
    numbers = [f"{count} {part}" for part, count in params.per_class if count is not None]
    return f"{name} ({', '.join(numbers)} a class)"


def select(whole: Dataset, params: Params, folder: Path) -> Decoded:
    """Return the part.

    Args:
        whole: The opened dataset.
        params: Which part.
        folder: Where images are written.

    Raises:
        UserError: A domain is unknown, or a class has no example to train on, or none to test on.
    """
    info, domain = whole.info, params.of.domain
    rows = sample_rows(whole, domain_rows(whole, domain), _most(params))
    kept, y = np.unique(whole.y[rows], return_inverse=True)
    classes, part = tuple(info.classes[label] for label in kept), whole.part[rows]
    for number, purpose in ((TRAIN, "train"), (TEST, "test")):
        missing = np.setdiff1d(np.arange(len(classes)), y[part == number])
        if len(missing):
            raise UserError(
                f"{with_domain(info.name, domain)}: class {classes[missing[0]]!r} has no example to {purpose} on",
                "name another domain",
            )
    names = domain_names(domain) or info.domains
    names = tuple(name for name in info.domains if name in names) if len(names) > 1 else ()
    return Decoded(
        x=copy_inputs(whole, rows, folder),
        y=y,
        part=part,
        classes=classes,
        domain=np.searchsorted([info.domains.index(name) for name in names], whole.domain[rows]) if names else None,
        domains=names,
        class_splits=_relabelled(info.class_splits, kept.tolist()),
        warnings=info.warnings,
        target=within(info.fingerprint, domain if isinstance(domain, str) else None),
        group=None if whole.group is None else whole.group[rows],
    )


def _relabelled(class_splits: Mapping[str, tuple[int, ...]], kept: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return a split of classes for those that were kept; none where a part of it would be empty."""
    label = {old: new for new, old in enumerate(kept)}
    found = {name: tuple(label[old] for old in labels if old in label) for name, labels in class_splits.items()}
    return found if all(found.values()) else {}


def _most(params: Params) -> dict[int, int]:
    """Return the most examples of a class by the number of the part."""
    return {_PARTS[name]: count for name, count in params.per_class or () if count is not None}
