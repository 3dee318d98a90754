"""Where the labelled examples of a dataset come from, and whether two datasets share labels, whatever their size.

A place is a text of parts between slashes, the path of a file or folder among them: what lies in a place shares with
it. So a folder shares with its domains, which do not share with one another.
"""

from __future__ import annotations

from tlbench.core.info import DatasetInfo


def within(place: str, domain: str | None) -> str:
    """Return the place of a domain, whose own slashes part nothing; of all, where there is none."""
    return f"{place}/{domain.replace('/', ':')}" if place and domain is not None else place


def overlap(one: str, other: str) -> bool:
    """Say whether one of two places lies in the other; an empty one is unknown, and lies nowhere."""
    return bool(one and other) and (f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"))


def labels_shared(corpus: DatasetInfo, dataset: DatasetInfo) -> bool:
    """Say whether pre-training on a corpus reads labels of a dataset; of a pair, both are the target.

    They come from one place and name a class that pre-training is given. Other parameters do not matter: a set that is
    drawn or scaled anew keeps its labels.
    """
    if not any(overlap(a, b) for a in _places(corpus) for b in _places(dataset)):
        return False
    taught = corpus.class_splits.get("train", range(len(corpus.classes)))
    return not {_bare(corpus.classes[label]) for label in taught}.isdisjoint(map(_bare, dataset.classes))


def _places(info: DatasetInfo) -> tuple[str, ...]:
    return info.fingerprint, info.target, info.origin


def _bare(name: str) -> str:
    """Return a class's name without the group of classes that a layout may put before it."""
    return name.rpartition("/")[2]
