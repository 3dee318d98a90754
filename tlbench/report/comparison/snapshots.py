"""Frozen reports: snapshots that are written once, named by a tag, and checked against their hashes when read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import tlbench
from tlbench.core.errors import UserError, nearest
from tlbench.core.planned_setting import PlannedSetting
from tlbench.report.page import save_into
from tlbench.report.report_data import Report
from tlbench.store.atomic_write import write_folder
from tlbench.store.mlflow.planned_cells import settings_from_json, settings_to_json

FROZEN = "frozen"
HASHES = "SHA256SUMS"
RECORDS, FACTS, PLAN = "records.parquet", "snapshot.json", "plan.json"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Snapshot:
    """A frozen report as it was read.

    Attributes:
        tag: Its name.
        folder: Where it lies.
        records: One row a finished cell, as :attr:`tlbench.report.results.Results.done`.
        planned_settings: As :attr:`tlbench.report.results.Results.planned_settings`.
    """

    tag: str
    folder: Path
    records: pd.DataFrame
    planned_settings: tuple[PlannedSetting, ...] | None = None


def freeze(report: Report, tag: str, reports: Path) -> Path:
    """Write ``reports/frozen/TAG/``: the whole report, its records, the suites, and the hash of every file.

    ``sha256sum --check SHA256SUMS`` inside the folder checks it without tlbench.

    Args:
        report: The report.
        tag: Letters, digits, dots, dashes and underscores.
        reports: Where reports are written.

    Returns:
        The folder, which is there whole or not at all.

    Raises:
        UserError: The tag is taken, or no name of a folder; or no cell has a result yet, or a section cannot be shown.
    """
    refuse_tag(tag, reports)
    if report.results.done.empty:
        raise UserError(f"{report.results.suite}: no cell has a result yet, so there is nothing to freeze")
    shelf = reports / FROZEN
    shelf.mkdir(parents=True, exist_ok=True)

    def fill(folder: Path) -> None:
        failures = save_into(report, folder).failures
        if failures:
            raise UserError(
                "\n".join(map(str, failures)), "a snapshot is kept for good, so every section of it must be shown"
            )
        (folder / FACTS).write_text(json.dumps(_facts(report, tag), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if report.results.planned_settings is not None:
            plan = settings_to_json(report.results.planned_settings)
            (folder / PLAN).write_text(json.dumps(plan) + "\n", encoding="utf-8")
        for suite in report.suites:
            (folder / f"{suite.suite}.yaml").write_text(suite.suite_text, encoding="utf-8")
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        lines = [f"{_hash(folder / name)}  {name}\n" for name in names]
        (folder / HASHES).write_text("".join(lines), encoding="utf-8")

    return write_folder(shelf / tag, fill)


def refuse_tag(tag: str, reports: Path) -> None:
    """Refuse a tag that cannot be frozen under.

    Raises:
        UserError: It is taken, or no name of a folder.
    """
    if not _TAG.fullmatch(tag):
        raise UserError(
            f"{tag!r} cannot be a tag", "use letters, digits, dots, dashes and underscores, such as paper-v1"
        )
    if (reports / FROZEN / tag).exists():
        raise UserError(f"{reports / FROZEN / tag} exists, and a snapshot is never overwritten", "choose another tag")


def tags(reports: Path) -> list[str]:
    """Return the names of all snapshots."""
    shelf = reports / FROZEN
    return sorted(path.parent.name for path in shelf.glob(f"*/{HASHES}")) if shelf.is_dir() else []


def read(tag: str, reports: Path) -> Snapshot:
    """Read a snapshot.

    Args:
        tag: Its name.
        reports: Where reports are written.

    Raises:
        UserError: There is none of that name, or a file is missing or not what was frozen.
    """
    folder = reports / FROZEN / tag
    known = tags(reports)
    if tag not in known:
        hint = nearest(tag, known) if known else "`tlbench report SUITE --freeze TAG` makes one"
        raise UserError(f"no snapshot {tag!r} under {reports / FROZEN}", hint)
    _verify(folder)
    return Snapshot(tag, folder, pd.read_parquet(folder / RECORDS), _planned(folder / PLAN))


def _planned(path: Path) -> tuple[PlannedSetting, ...] | None:
    """Return the plan in a snapshot; those of earlier versions have none."""
    return settings_from_json(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _verify(folder: Path) -> None:
    for line in (folder / HASHES).read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: missing, though it was frozen", f"see {folder / HASHES}")
        if _hash(path) != expected:
            raise UserError(f"{path}: not what was frozen; its hash differs", f"see {folder / HASHES}")


def _facts(report: Report, tag: str) -> dict[str, Any]:
    results = report.results
    return {
        "tag": tag,
        "suite": results.suite,
        "tlbench": tlbench.__version__,
        "frozen": datetime.now(UTC).isoformat(timespec="seconds"),
        "baseline": results.baseline,
        "cells": len(results.done),
        "planned": results.planned,
        "failed": [{"cell": each.cell, "what": each.what, "error": each.error} for each in results.failed],
        "provenance": results.provenance,
        "warnings": list(report.warnings),
    }


def _hash(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
