"""Published numbers: figures of other people beside ours, and whether they agree within a tolerance fixed before."""

from __future__ import annotations

from collections.abc import Sequence

from tlbench.report import number_format as text
from tlbench.report.published import PublishedRow
from tlbench.report.report_data import Report
from tlbench.report.section import Content
from tlbench.report.table import Bold, Table, TablePart, Value

TITLE = "Published numbers"
ORDER = 25
TABLES = ("published",)
FIGURES = ()

_HEAD = ("method", "backbone", "dataset", "shots", "theirs %", "ours %", "95% interval", "seeds", "ours − theirs",
         "tolerance", "verdict", "their protocol", "source")  # fmt: skip
_COLUMNS = ("method", "backbone", "dataset", "shots", "theirs", "verdict", "source")
_NOTE = (
    "Differences are in points of accuracy. A tolerance was fixed in the suite before the row was measured; what "
    "differs in protocol is shown as not comparable, and counts neither way."
)


def build(report: Report) -> Content:
    """Return the table of published figures, and how many of them agree."""
    published = report.published
    if not published:
        return Content(is_listed=False)
    return Content(tables=(published_table(published),), notes=(summary(published), _NOTE))


def summary(published: Sequence[PublishedRow]) -> str:
    """Return in a sentence how many published figures agree with ours."""
    counts = {verdict: sum(each.verdict == verdict for each in published) for verdict in
              ("agrees", "differs", "not comparable", "not run")}  # fmt: skip
    compared = counts["agrees"] + counts["differs"]
    rest = [f"{count} {name}" for name, count in counts.items() if count and name in ("not comparable", "not run")]
    sentence = f"Of {compared} published figures that were compared, {counts['agrees']} agree within their tolerance"
    return f"{sentence}; {', '.join(rest)}." if rest else f"{sentence}."


def published_table(published: Sequence[PublishedRow]) -> Table:
    """Return one row a published figure."""
    return Table(
        name="published",
        records=[_record(each) for each in published],
        columns=_COLUMNS,
        parts=[TablePart("", _HEAD, [_shown(each) for each in published], (0, 1, 2, 10, 11, 12))],
    )


def _place(each: PublishedRow) -> tuple[str, str, str, str]:
    ours, row = each.ours, each.reference.row
    if ours is not None:
        return ours.method, ours.backbone, ours.dataset, ours.shots
    return row.method, row.backbone, row.dataset, "*" if row.shots is None else str(row.shots)


def _shown(each: PublishedRow) -> tuple[str, ...]:
    reference, ours = each.reference, each.ours
    error = "" if reference.standard_error is None else f" ± {reference.standard_error:g}"
    verdict = f"{each.verdict}: {each.why}" if each.why else each.verdict
    return (
        *_place(each),
        f"{reference.value:.1f}{error}",
        text.NONE if ours is None else text.percent(ours.accuracy.mean),
        text.NONE if ours is None else text.percent_interval(ours.accuracy),
        text.NONE if ours is None else str(ours.accuracy.n),
        text.points(each.difference),
        f"{reference.tolerance:g}",
        Bold(verdict) if each.verdict == "differs" else verdict,
        reference.protocol,
        reference.source,
    )


def _record(each: PublishedRow) -> dict[str, Value]:
    reference, ours = each.reference, each.ours
    error = reference.standard_error
    return {
        **dict(zip(("method", "backbone", "dataset", "shots"), _place(each), strict=True)),
        "theirs": reference.value / 100,
        "theirs_error": None if error is None else error / 100,
        "ours": None if ours is None else ours.accuracy.mean,
        "ours_low": None if ours is None else ours.accuracy.low,
        "ours_high": None if ours is None else ours.accuracy.high,
        "seeds": None if ours is None else ours.accuracy.n,
        "difference": each.difference,
        "tolerance": reference.tolerance / 100,
        "verdict": each.verdict,
        "not_comparable_because": each.why,
        "protocol": reference.protocol,
        "source": reference.source,
    }
