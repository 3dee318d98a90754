"""Provenance: versions, hardware and contents of the datasets, and the commands that reproduce the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlbench.report import number_format as text
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.sections._provenance_mixtures import mixtures_table
from tlbench.report.sections._provenance_reproduction import Reproduction, reproduction_table, reproductions

TITLE = "Provenance"
ORDER = 120
TABLES = ("mixed_environments", "reproduction")
FIGURES = ()
_NOT_LISTED = ("pid", "attempt", "method_source", "protocol_source")  # too many to read; the records hold them
_VALUES = 5  # of one fact that are listed


@dataclass(frozen=True)
class Fact:
    """A fact of what the results come from, and its values with the number of cells that have each."""

    name: str
    values: str


@dataclass(frozen=True)
class ProvenanceContext:
    """What the template reads.

    Attributes:
        facts: By name.
        fingerprints: Names of datasets, each with the hash of its content.
        reproductions: One a row and suite that has it.
    """

    facts: tuple[Fact, ...]
    fingerprints: tuple[tuple[str, str], ...]
    reproductions: tuple[Reproduction, ...]


def build(report: Report) -> Content:
    """Return the rows that mix environments, and the commands; the template adds the facts and the files of all."""
    results = report.results
    found = reproductions(report.suites, report.cells)
    fingerprints = set(zip(results.done["dataset"], results.done["dataset_fingerprint"], strict=True))
    return Content(
        tables=(mixtures_table(report.boards), reproduction_table(found)),
        context=ProvenanceContext(
            facts=tuple(
                Fact(name.replace("_", " "), _listed(counts))
                for name, counts in results.provenance.items()
                if name not in _NOT_LISTED
            ),
            fingerprints=tuple(sorted(fingerprints)),
            reproductions=found,
        ),
    )


def _listed(counts: Mapping[str, int]) -> str:
    """Return values with the number of cells that have each; a single value alone."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return ordered[0][0] or text.NONE
    shown = ", ".join(f"{value or text.NONE} ({cells} cells)" for value, cells in ordered[:_VALUES])
    return shown + (f", and {len(ordered) - _VALUES} more" if len(ordered) > _VALUES else "")
