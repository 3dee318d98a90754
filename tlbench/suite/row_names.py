"""The names of rows: what a suite calls a method or a backbone, else the shortest text that tells the labels apart.

A label says everything that differs from the defaults, e.g. ``timm:tf_efficientnet_lite0(image_size=96)/in1k``. Beside
other rows most of it says nothing: a name leaves out what all labels of the same kind have in common.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

_OPEN, _CLOSE = "([{", ")]}"
_TUNED = "tuned"  # in the label of a method whose parameters were searched
_NO_NAMES: Mapping[str, str] = MappingProxyType({})
_PATH = re.compile(r"[\w.-]+\(([^()=,]+)(?:, ([^()]*))?\)")  # a source, its data and what else differs
_NOTE = re.compile(r" \([^()]*\)$")  # what a part of a dataset is


@dataclass(frozen=True)
class GivenNames:
    """The names that a suite gives to methods and backbones, by label."""

    methods: Mapping[str, str] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Backbone:
    """The parts of a backbone's label: ``library`` + ``architecture`` + ``/`` + ``weights``."""

    library: str
    architecture: str
    weights: str

    @property
    def core(self) -> str:
        """The architecture without its options."""
        return self.architecture.partition("(")[0]


@dataclass(frozen=True)
class _Bracketed:
    """A text and the items in the bracket behind it, if any, by what stands before the sign of equality."""

    text: str
    items: Mapping[str, str]

    def bare(self, marks: Collection[str]) -> tuple[str, ...]:
        """Return the items without a key, other than marks."""
        return tuple(item for item in self.items.values() if "=" not in item and item not in marks)


def method_names(labels: Iterable[str], given: Mapping[str, str] = _NO_NAMES) -> dict[str, str]:
    """Return the names of methods: ``lora`` for ``lora(rank=8)`` where no other lora is among them.

    Args:
        labels: Such as :func:`tlbench.suite.resolve.method_label` makes.
        given: Names that suites give, by label.
    """
    return _unique(labels, given, lambda rest: _without_shared_items(rest, marks=(_TUNED,)))


def backbone_names(labels: Iterable[str], given: Mapping[str, str] = _NO_NAMES) -> dict[str, str]:
    """Return the names of backbones: without library, options and weights where these tell nothing apart.

    Args:
        labels: Such as :func:`tlbench.suite.resolve.choose_backbone` makes.
        given: Names that suites give, by label.
    """
    return _unique(labels, given, _backbones)


def dataset_names(labels: Iterable[str]) -> dict[str, str]:
    """Return the names of datasets: ``clinc150/banking`` for ``texts(clinc150)/banking``. Domains always stay.

    Args:
        labels: Names as sources give them.
    """
    return _unique(labels, _NO_NAMES, _datasets)


def _unique(
    labels: Iterable[str], given: Mapping[str, str], shorten: Callable[[Sequence[str]], dict[str, str]]
) -> dict[str, str]:
    """Return a name a label, no two the same: labels whose names would be the same stay whole."""
    known = list(dict.fromkeys(labels))
    names = shorten([label for label in known if label not in given])
    names |= {label: given[label] for label in known if label in given}
    counts = Counter(names.values())
    found = {label: names[label] if counts[names[label]] == 1 else label for label in known}
    return found if len(set(found.values())) == len(known) else {label: label for label in known}


def _backbones(labels: Sequence[str]) -> dict[str, str]:
    parts = {label: _backbone(label) for label in labels}
    groups: dict[str, list[str]] = {}
    for label, each in parts.items():
        groups.setdefault(each.core, []).append(label)
    names = {}
    for group in groups.values():
        architectures = _without_shared_items([parts[label].architecture for label in group])
        weights = _without_shared_items([parts[label].weights for label in group])
        libraries = {parts[label].library for label in group}
        for label in group:
            each = parts[label]
            library = each.library if len(libraries) > 1 else ""
            ending = f"/{weights[each.weights]}" if len(weights) > 1 else ""
            names[label] = library + architectures[each.architecture] + ending
    return names


def _backbone(label: str) -> _Backbone:
    """Take a label apart. Names on Hugging Face's hub have a slash of their own, and their owner counts as library."""
    texts = _pieces(label)
    if len(texts) > 2 and texts[2].startswith("/") and "@" not in texts[0]:
        whole, weights = texts[0] + texts[1], "".join(texts[2:])[1:]
    else:
        head = re.split(r"[@+]", texts[0])[0]
        at = head.find("/")
        if head.startswith("hf:") and head.count("/") > 1:
            at = head.find("/", at + 1)
        whole, weights = (label[:at], label[at + 1 :]) if at >= 0 else (label, "")
    options = whole.find("(") if "(" in whole else len(whole)
    start = max(whole.rfind(mark, 0, options) for mark in ":/") + 1
    return _Backbone(whole[:start], whole[start:], weights)


def _datasets(labels: Sequence[str]) -> dict[str, str]:
    notes = {label: found[0] if (found := _NOTE.search(label)) else "" for label in labels}
    bases = {label: label.removesuffix(note) for label, note in notes.items()}
    short = _without_shared_items(list(dict.fromkeys(bases.values())))
    bare = {base: _PATH.sub(_data, name) for base, name in short.items()}
    counts = Counter(bare.values())
    told = {base: bare[base] if counts[bare[base]] == 1 else name for base, name in short.items()}
    several = Counter(bases.values())
    return {label: told[base] + (notes[label] if several[base] > 1 else "") for label, base in bases.items()}


def _data(found: re.Match[str]) -> str:
    """Return the data that a source reads, without the source, and in what else it differs."""
    data, rest = found.groups()
    return f"{data}({rest})" if rest else str(data)


def _without_shared_items(labels: Sequence[str], marks: Collection[str] = ()) -> dict[str, str]:
    """Return labels without the ``key=value`` that all labels have which are the same outside their brackets.

    Args:
        labels: Labels; a value may have brackets of its own. Items without a key stay, and so tell labels apart.
        marks: Items without a key that are left out like the others where all labels have them.
    """
    groups: dict[tuple[str, ...], dict[str, list[_Bracketed]]] = {}
    for label in labels:
        pieces = _bracketed(label)
        frame = [text for each in pieces for text in (each.text, *each.bare(marks))]
        groups.setdefault(tuple(frame), {})[label] = pieces
    return {label: name for group in groups.values() for label, name in _shortened(group, marks).items()}


def _shortened(group: Mapping[str, Sequence[_Bracketed]], marks: Collection[str]) -> dict[str, str]:
    """Return the labels of a group, which are the same outside their brackets, without the items that all share."""
    found: dict[tuple[int, str], list[str]] = {}
    for pieces in group.values():
        for place, each in enumerate(pieces):
            for key, item in each.items.items():
                found.setdefault((place, key), []).append(item)
    shared = {where for where, items in found.items() if len(items) == len(group) and len(set(items)) == 1}

    def told(place: int, each: _Bracketed) -> str:
        bare = each.bare(marks)
        stay = [item for key, item in each.items.items() if (place, key) not in shared or item in bare]
        return f"{each.text}({', '.join(stay)})" if stay else f"{each.text}"

    return {label: "".join(told(place, each) for place, each in enumerate(pieces)) for label, pieces in group.items()}


def _bracketed(label: str) -> list[_Bracketed]:
    """Return the texts outside brackets, each with the bracket behind it."""
    found: list[_Bracketed] = []
    for each in _pieces(label):
        if each.startswith("(") and found:
            found[-1] = _Bracketed(found[-1].text, _items(each))
        else:
            found.append(_Bracketed(each, {}))
    return found


def _pieces(label: str) -> list[str]:
    """Return the texts outside brackets, and the brackets as they stand, in their order."""
    pieces, depth = [""], 0
    for letter in label:
        if letter == "(" and depth == 0:
            pieces.append("")
        depth += (letter in _OPEN) - (letter in _CLOSE)
        pieces[-1] += letter
        if letter == ")" and depth == 0:
            pieces.append("")
    return [each for place, each in enumerate(pieces) if each or place == 0]


def _items(bracket: str) -> dict[str, str]:
    """Return what stands in a bracket, by what stands before the sign of equality."""
    items, depth = [""], 0
    for letter in bracket[1:-1] if bracket.endswith(")") else bracket[1:]:
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if letter == "," and depth == 0:
            items.append("")
        else:
            items[-1] += letter
    return {item.strip().partition("=")[0]: item.strip() for item in items}
