"""The labels of protocols and datasets, which say what must be said to tell the uses of a suite apart, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd

from tlbench.core.planned_setting import PlannedSetting

TRANSDUCTIVE = ", transductive"
"""Ends the label of a protocol where answers may depend on other test examples."""


@dataclass(frozen=True)
class Labels:
    """Labels of what was finished and of what is planned.

    Attributes:
        protocols: By name and options as canonical JSON: the name, and the options in which its uses differ.
        datasets: By name and fingerprint: the name, and the fingerprint's beginning where a name has several.
        ambiguous: Names of datasets that stand for several contents.
    """

    protocols: Mapping[tuple[str, str], str]
    datasets: Mapping[tuple[str, str], str]
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
    return Labels(
        protocols={
            pair: label
            for name, texts in _by_name(uses).items()
            for pair, label in _protocol_labels(name, texts).items()
        },
        datasets={
            (name, mark): f"{name}#{mark[:6]}" if len(marks) > 1 else name
            for name, marks in datasets.items()
            for mark in marks
        },
        ambiguous=tuple(sorted(name for name, marks in datasets.items() if len(marks) > 1)),
    )


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return what stands beside each name, each once."""
    found: dict[str, list[str]] = {}
    for name, value in dict.fromkeys(pairs):
        found.setdefault(name, []).append(value)
    return found


def _protocol_labels(name: str, texts: Sequence[str]) -> dict[tuple[str, str], str]:
    options = {text: json.loads(text) for text in texts}
    keys = sorted({key for each in options.values() for key in each})
    varying = [key for key in keys if len({each.get(key) for each in options.values()}) > 1]
    labels = {}
    for text, each in options.items():
        told = ", ".join(f"{key}={each.get(key, '-')}" for key in varying)
        labels[name, text] = f"{name} ({told})" if told else name
    return labels
