"""A setting that a suite asks for, with its seeds, in the words in which it is stored and shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PlannedSetting:
    """The planned cells of a setting, by the labels that their records have.

    Attributes:
        protocol: The protocol's name.
        options: Its options as canonical JSON; as read from a store, every value is a text.
        method: Label of the method; of a searched one, the label that it has once its parameters are found.
        backbone: Label of the backbone.
        dataset: Name of the dataset.
        shots: The label budget as text.
        seeds: One for each cell.
        fingerprint: Hash of the dataset's decoded content.
        execution: Precision and workers where they are not the defaults, as canonical JSON.
        tuned_from: Of a searched setting, the label that the method has with the suite's own parameters; else empty. A
            cell of that label is planned beside each of its cells, and is no row.
        kept: Seeds whose search kept those parameters: their cell has that label, and is the row's.
        method_name: What the suite calls the method on pages; empty where it leaves that to the report.
        backbone_name: The same of the backbone.
    """

    protocol: str
    options: str
    method: str
    backbone: str
    dataset: str
    shots: str
    seeds: tuple[int, ...]
    fingerprint: str = ""
    execution: str = "{}"
    tuned_from: str = ""
    kept: tuple[int, ...] = ()
    method_name: str = ""
    backbone_name: str = ""


def merge_settings(settings: Iterable[PlannedSetting]) -> tuple[PlannedSetting, ...]:
    """Return settings each once, with all seeds under which they are listed, in the order in which they come."""
    seeds: dict[PlannedSetting, dict[int, None]] = {}
    kept: dict[PlannedSetting, dict[int, None]] = {}
    for each in settings:
        setting = replace(each, seeds=(), kept=())
        seeds.setdefault(setting, {}).update(dict.fromkeys(each.seeds))
        kept.setdefault(setting, {}).update(dict.fromkeys(each.kept))
    return tuple(replace(each, seeds=tuple(own), kept=tuple(kept[each])) for each, own in seeds.items())
