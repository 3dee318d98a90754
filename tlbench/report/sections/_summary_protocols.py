"""How each protocol was run here: its options, its data, and by what rule a model was selected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlbench.core.episode_file import given_file
from tlbench.core.label_budget import extra_labels
from tlbench.report import number_format as text
from tlbench.report.comparable_cells import ComparableCell, by_shots, grouped
from tlbench.report.labels import read_options
from tlbench.stats.validators import KINDS, counterpart

_SELECTION = {
    "episodic": "on episodes of validation classes; test episodes are the same for every method",
    "adaptation": "by {validator} ({kind}), without a label of the target, checkpoints and configurations alike; "
    "the ranking by {second} ({second_kind}) stands beside it, and the oracle is shown and never ranked",
}
_CLASSIFICATION = {
    "auto": "choices that need no training of the network, as C of a probe, by folds of the labels; networks are "
    "trained to their last epoch; all labels are fitted to",
    "held_out": "on a part held out of the label budget",
    "k_fold": "by the mean over folds of the label budget; then all labels are fitted to",
    "none": "nothing is chosen; all labels are fitted to",
}
_SEEDS = 10  # that are listed one by one


@dataclass(frozen=True)
class ProtocolBox:
    """One protocol as it was run, in words.

    Attributes:
        name: Label, as on the leaderboard.
        protocol: Name and version.
        selected: The rule by which a model was selected.
        time: Of all its cells: device-seconds, and wall seconds of those that have none.
    """

    name: str
    protocol: str
    options: str
    selected: str
    datasets: str
    shots: str
    seeds: str
    cells: str
    time: str

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """All but the label, as pairs of what it is called and what it is."""
        names = ("protocol", "options", "selected", "datasets", "shots", "seeds", "cells", "time")
        return tuple((name, getattr(self, name)) for name in names)


def protocol_boxes(cells: Iterable[ComparableCell]) -> tuple[ProtocolBox, ...]:
    """Return one box a protocol, by label.

    Args:
        cells: See :func:`tlbench.report.comparable_cells.comparable_cells`.
    """
    return tuple(_box(name, group) for name, group in sorted(grouped(cells, lambda cell: cell.protocol).items()))


def _box(name: str, group: Sequence[ComparableCell]) -> ProtocolBox:
    first = group[0]
    options = read_options(first.options)
    rule = _SELECTION.get(first.protocol_name, "as the protocol says")
    if first.protocol_name == "classification":
        rule = _classification_rule(options)
    seeds = sorted({cell.seed for cell in group})
    return ProtocolBox(
        name=name,
        protocol=f"{first.protocol_name}, version {first.protocol_version}",
        options=_options(options),
        selected=rule.format(**_validators(first.validator)),
        datasets=_datasets({cell.dataset for cell in group}),
        shots=", ".join(sorted({cell.shots for cell in group}, key=by_shots)),
        seeds=f"{len(seeds)} ({', '.join(map(str, seeds[:_SEEDS]))}{', ...' if len(seeds) > _SEEDS else ''})",
        cells=str(len(group)),
        time=time_text(group),
    )


def _options(options: Mapping[str, Any]) -> str:
    """Return options but the validator, which has a line of its own, and those that are left open."""
    shown = {key: value for key, value in options.items() if key != "validator" and value is not None}
    if given := given_file(options):
        shown["episodes"] = f"of the file {given.sha256[:12]}"
    if extra := extra_labels(options):
        shown["validation"] = f"extra {extra}"
    return ", ".join(f"{key} {value}" for key, value in shown.items()) or text.NONE


def _classification_rule(options: Mapping[str, Any]) -> str:
    """Return by what labels a model is chosen in classification; results of version 1 have no such option."""
    validation, refit = options.get("validation", "held_out"), options.get("refit")
    extra = extra_labels(options)
    rule = f"on {extra} more labels of each class beside the shots" if extra else _CLASSIFICATION[validation]
    refits = bool(refit) if extra else "validation" in options and refit is not False
    if extra or validation == "held_out":
        rule += "; then all labels are fitted to" if refits else ", which is not fitted to"
    return f"{rule}; the test split is read once, by the protocol"


def _validators(name: str) -> dict[str, str]:
    """Return what is said of a validator and of the one beside it."""
    second = counterpart(name)
    return {
        "validator": name.replace("_", " ") or "its validator",
        "kind": KINDS.get(name, "of its own kind"),
        "second": second.replace("_", " "),
        "second_kind": KINDS[second],
    }


def time_text(cells: Iterable[ComparableCell]) -> str:
    """Return what cells took together: ``3.4 CPU-min``; what is known in wall seconds alone stands apart."""
    cells = tuple(cells)
    told = []
    for device in ("CPU", "GPU"):
        own = [each for each in cells if each.device_seconds is not None and ("GPU" if each.gpus else "CPU") == device]
        if own:
            told.append(text.device_seconds(sum(each.device_seconds or 0.0 for each in own), device))
    rest = [each.seconds or 0.0 for each in cells if each.device_seconds is None]
    if rest:
        told.append(f"{text.seconds(sum(rest))} by the clock")
    return " and ".join(told) or text.NONE


def _datasets(names: Iterable[str]) -> str:
    """Return all names, what stands before a colon once: ``glyphs: Sans -> Serif, Mono -> Serif; digits``."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        head, colon, own = name.rpartition(": ")
        groups.setdefault(head + colon, []).append(own)
    return "; ".join(head + ", ".join(own) for head, own in groups.items())
