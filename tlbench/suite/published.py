"""Published figures that a suite is held against, and which of its rows each of them stands beside."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints

from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest

_Text = Annotated[str, StringConstraints(min_length=1)]


class RowPattern(Settings):
    """Which row of a suite a published figure stands for; what is left out may be anything."""

    method: _Text = Field(description="name or label of a method of the suite")
    backbone: _Text = Field("*", description="label of a backbone; * stands for anything")
    dataset: _Text = Field("*", description="name of a dataset as `tlbench plan` shows it; * stands for anything")
    shots: int | Literal["full"] | None = Field(None, description="shots of the row")
    protocol: _Text = Field("*", description="name of a protocol")


class Reference(Settings):
    """A published figure, in percent of test accuracy."""

    value: float = Field(ge=0, le=100, description="test accuracy as published, in percent")
    standard_error: float | None = Field(None, ge=0, description="as published, in points")
    tolerance: float = Field(gt=0, le=100, description="points by which ours may differ; fixed before it is measured")
    source: _Text = Field(description="paper, table and row")
    protocol: _Text = Field(description="what was measured, in words")
    row: RowPattern = Field(description="the row of the suite that it stands beside")
    differs: str = Field(
        "", description="what makes it not comparable, where it is shown all the same; empty if nothing"
    )


class RowLabels(NamedTuple):
    """The labels of a row of the report."""

    protocol: str
    method: str
    backbone: str
    dataset: str
    shots: str


def matching(row: RowPattern, labels: Iterable[RowLabels]) -> list[RowLabels]:
    """Return the rows that a pattern fits, each once; those whose method has exactly this label, if there are any.

    Args:
        row: The pattern.
        labels: The rows of a suite.
    """
    found = [each for each in dict.fromkeys(labels) if not _misfit(row, each)]
    return [each for each in found if each.method == row.method] or found


def the_row(row: RowPattern, labels: Iterable[RowLabels]) -> RowLabels:
    """Return the one row that a pattern fits.

    Raises:
        UserError: None fits, with the nearest label, or several do.
    """
    known = list(dict.fromkeys(labels))
    found = matching(row, known)
    if len(found) == 1:
        return found[0]
    if found:
        shown = "; ".join(" | ".join(each) for each in found[:3])
        raise UserError(
            f"row fits {len(found)} rows of the suite: {shown}", "give backbone, dataset, shots or protocol"
        )
    for name in ("method", "protocol", "backbone", "dataset", "shots"):
        fitting = [each for each in known if not _differs(row, each, name)]
        if not fitting:
            valid = {getattr(each, name) for each in known}
            raise UserError(
                f"row: no row of the suite has {name} {_asked(row, name)!r}", nearest(_asked(row, name), valid)
            )
        known = fitting
    raise AssertionError("some part of the pattern fits no row")


def _misfit(row: RowPattern, labels: RowLabels) -> bool:
    return any(_differs(row, labels, name) for name in RowLabels._fields)


def _differs(row: RowPattern, labels: RowLabels, name: str) -> bool:
    asked, has = _asked(row, name), getattr(labels, name)
    if name == "method":
        return asked not in (has, has.partition("(")[0])
    return has != asked and not fnmatchcase(has, asked)


def _asked(row: RowPattern, name: str) -> str:
    value = getattr(row, name)
    return "*" if value is None else str(value)
