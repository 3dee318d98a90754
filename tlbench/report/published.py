"""Published figures beside ours: what a suite names as ``references``, and whether its rows agree with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.core.validation import check
from tlbench.report.comparable_cells import ComparableCell
from tlbench.report.leading_rows import RowKey
from tlbench.report.results import Results
from tlbench.report.rows.settings import SettingRow
from tlbench.suite.published import Reference, RowLabels, matching
from tlbench.suite.yaml_source import parse

_ROUNDING = 1e-9  # points

Verdict = Literal["agrees", "differs", "not comparable", "not run"]


@dataclass(frozen=True)
class PublishedRow:
    """A published figure beside the row that it stands for.

    Attributes:
        reference: As the suite gives it.
        ours: The row; None where it has no result, or several rows fit.
        difference: Ours less theirs, a fraction of 1; None without a row.
        verdict: ``agrees`` within the tolerance, or ``differs``; what is not comparable is never counted as either.
    """

    reference: Reference
    ours: SettingRow | None
    difference: float | None
    verdict: Verdict

    @property
    def why(self) -> str:
        """What makes it not comparable; else empty."""
        return self.reference.differs


class _Named(Settings):
    references: tuple[Reference, ...] = ()


def published_rows(
    suites: Iterable[Results], settings: Sequence[SettingRow], cells: Iterable[ComparableCell]
) -> tuple[PublishedRow, ...]:
    """Return the published figures that suites name, in their order, each once.

    Args:
        suites: Results of each suite, with its text.
        settings: The rows of the report, one a setting.
        cells: What the rows are made of, which says what stands behind their names.
    """
    labels = {
        (cell.protocol, cell.method, cell.backbone, cell.dataset, cell.shots): RowLabels(
            cell.protocol_name,
            cell.method_label or cell.method,
            cell.backbone_label or cell.backbone,
            cell.dataset_label or cell.dataset,
            cell.shots,
        )
        for cell in cells
    }
    rows = {labels[row.protocol, row.method, row.backbone, row.dataset, row.shots]: row for row in settings}
    found = dict.fromkeys(reference for each in suites for reference in references_of(each.suite_text))
    return tuple(_beside(reference, rows) for reference in found)


def references_of(suite_text: str) -> tuple[Reference, ...]:
    """Return the references of a suite as it was stored; none where its text is cut or of another form."""
    if "references" not in suite_text:
        return ()
    try:
        value = parse(suite_text, "suite").value
    except UserError:
        return ()
    given = value.get("references") if isinstance(value, dict) else None
    named, _ = check(_Named, {"references": given or []})
    return () if named is None else named.references


def marks(published: Iterable[PublishedRow]) -> dict[RowKey, str]:
    """Return what the leaderboard says of a row that published figures stand beside: how many of them agree."""
    verdicts: dict[RowKey, list[Verdict]] = {}
    for each in published:
        if each.ours is not None:
            key = (each.ours.protocol, each.ours.method, each.ours.backbone)
            verdicts.setdefault(key, []).append(each.verdict)
    return {key: _mark(found) for key, found in verdicts.items()}


def _mark(verdicts: Sequence[Verdict]) -> str:
    if len(verdicts) == 1:
        return {"agrees": "agrees with a published figure", "differs": "differs from a published figure"}.get(
            verdicts[0], "a published figure is not comparable"
        )
    compared = [each for each in verdicts if each in ("agrees", "differs")]
    return f"agrees with {compared.count('agrees')} of {len(compared)} published figures"


def _beside(reference: Reference, rows: dict[RowLabels, SettingRow]) -> PublishedRow:
    found = matching(reference.row, rows)
    if len(found) != 1:
        return PublishedRow(reference, None, None, "not run")
    ours = rows[found[0]]
    difference = ours.accuracy.mean - reference.value / 100
    if reference.differs:
        return PublishedRow(reference, ours, difference, "not comparable")
    agrees = abs(100 * difference) <= reference.tolerance + _ROUNDING
    return PublishedRow(reference, ours, difference, "agrees" if agrees else "differs")
