"""The names of rows on a page: what must be said to tell protocols, methods, backbones and datasets apart, no more.

Tables, figures, sentences, the terminal and ``compare`` all show these names; what they stand for in full is kept with
each cell (:class:`tlbench.report.comparable_cells.ComparableCell`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pandas as pd

from tlbench.core.hashing import canonical
from tlbench.core.planned_setting import PlannedSetting
from tlbench.suite.row_names import backbone_names, dataset_names, method_names

TRANSDUCTIVE = ", transductive"
"""Ends the label of a protocol where answers may depend on other test examples."""
_DIGITS = 6  # of a hash


@dataclass(frozen=True)
class Labels:
    """Labels of what was finished and of what is planned.

    Attributes:
        protocols: By name and options as canonical JSON: the name, and the options in which its uses differ.
        methods: By label: the name that the suite gives, else the shortest that tells the methods apart.
        backbones: The same of backbones.
        datasets: By name and fingerprint: the shortest name that tells the datasets apart, and the fingerprint's
            beginning where a name has several.
        datasets_in_full: The same, of whole names.
        ambiguous: Names of datasets that stand for several contents.
    """

    protocols: Mapping[tuple[str, str], str]
    methods: Mapping[str, str]
    backbones: Mapping[str, str]
    datasets: Mapping[tuple[str, str], str]
    datasets_in_full: Mapping[tuple[str, str], str]
    ambiguous: tuple[str, ...]


def labels_of(done: pd.DataFrame, planned: Sequence[PlannedSetting] | None = None) -> Labels:
    """Return the labels of finished and planned cells, so that a row has the same before and after it is run.

    Args:
        done: :attr:`tlbench.report.results.Results.done`.
        planned: :attr:`tlbench.report.results.Results.planned_settings`.
    """
    settings = planned or ()
    uses = chain(
        zip(done["protocol"], done["options"], strict=True), ((each.protocol, each.options) for each in settings)
    )
    contents = chain(
        zip(done["dataset"], done["dataset_fingerprint"], strict=True),
        ((each.dataset, each.fingerprint) for each in settings),
    )
    datasets = _by_name(contents)
    short = dataset_names(datasets)
    marks = {
        (name, mark): f"#{mark[:_DIGITS]}" if len(found) > 1 else ""
        for name, found in datasets.items()
        for mark in found
    }
    return Labels(
        protocols={
            pair: label
            for name, texts in _by_name(uses).items()
            for pair, label in _protocol_labels(name, texts).items()
        },
        methods=method_names(
            [*done["method_label"], *(each.method for each in settings)],
            _given((each.method, each.method_name) for each in settings),
        ),
        backbones=backbone_names(
            [*done["backbone_label"], *(each.backbone for each in settings)],
            _given((each.backbone, each.backbone_name) for each in settings),
        ),
        datasets={pair: short[pair[0]] + mark for pair, mark in marks.items()},
        datasets_in_full={pair: pair[0] + mark for pair, mark in marks.items()},
        ambiguous=tuple(sorted(name for name, found in datasets.items() if len(found) > 1)),
    )


def row_texts(rows: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return rows of a figure in one line each: the method, and its backbone where there are several.

    Args:
        rows: Names of methods and backbones.
    """
    found = list(dict.fromkeys(rows))
    several = len({backbone for _, backbone in found}) > 1
    return {(method, backbone): f"{method} · {backbone}" if several else method for method, backbone in found}


def read_options(text: str) -> dict[str, Any]:
    """Return the options of a protocol; stores keep every value as a text: mappings, truth values and null too.

    Args:
        text: Canonical JSON.
    """
    return {key: _meant(value) for key, value in json.loads(text).items()}


def _meant(value: Any) -> Any:
    if not isinstance(value, str) or not (value.startswith("{") or value in ("true", "false", "null")):
        return value
    try:
        return json.loads(value)
    except ValueError:  # a text that begins so
        return value


def _given(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the names that suites give, by label; where several suites give one label several names, the first."""
    found: dict[str, str] = {}
    for label, name in names:
        if name:
            found.setdefault(label, name)
    return found


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return what stands beside each name, each once."""
    found: dict[str, list[str]] = {}
    for name, value in dict.fromkeys(pairs):
        found.setdefault(name, []).append(value)
    return found


def _protocol_labels(name: str, texts: Sequence[str]) -> dict[tuple[str, str], str]:
    options = {text: read_options(text) for text in texts}
    keys = sorted({key for each in options.values() for key in each})
    varying = [key for key in keys if len({canonical(each.get(key)) for each in options.values()}) > 1]
    labels = {}
    for text, each in options.items():
        told = ", ".join(f"{key}={_shown(each.get(key, '-'))}" for key in varying)
        labels[name, text] = f"{name} ({told})" if told else name
    return labels


def _shown(value: Any) -> str:
    """Return an option's value; of a file of episodes, the beginning of its hash."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {str(each)[:_DIGITS] if key == 'sha256' else each}" for key, each in value.items())
    return canonical(value) if value is None or isinstance(value, bool) else str(value)
