"""Classes: of the best row of each dataset, which classes it gets wrong, and what it takes them for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import pandas as pd

from tlbench.report import chart_style as look
from tlbench.report import number_format as text
from tlbench.report.figure import Figure
from tlbench.report.report_data import Report
from tlbench.report.rows.classes import ClassScores, class_scores
from tlbench.report.section import Content
from tlbench.report.table import Table, TablePart, Value

TITLE = "Classes"
ORDER = 35
TABLES = ("classes", "confusions")
FIGURES = ("confusion",)

_CAPTION = "Share of each class's test examples by answer, in percent, of the best row at the largest number of shots."
_NOTE = "Of the best row of each dataset, at its largest number of shots, over all seeds."
_SHOWN, _MOST_CLASSES = 10, 20  # lines of a table; classes of a matrix that can be read
_COLUMNS = ("panel", "truth", "answer", "share", "examples")
_CLASS_COLUMNS = (
    "protocol",
    "dataset",
    "shots",
    "method",
    "backbone",
    "class",
    "examples",
    "recall",
    "precision",
    "f1",
)
_PAIR_COLUMNS = ("protocol", "dataset", "shots", "method", "backbone", "class", "answer", "examples", "share")
_PAIR_HEAD = ("class", "was taken for", "examples", "% of the class")


def build(report: Report) -> Content:
    """Return the matrices of small problems, and the worst classes and most frequent confusions of all."""
    found = class_scores(report.settings, report.cells, report.results.details)
    if not found:
        return Content(is_listed=False)
    small = [each for each in found if len(each.classes) <= _MOST_CLASSES]
    return Content(
        figures=(Figure("confusion", _CAPTION, frame(small), chart),),
        tables=(classes_table(found), confusions_table(found)),
        notes=(_NOTE,),
    )


def classes_table(found: Sequence[ClassScores]) -> Table:
    """Return one row a class; people are shown the worst of each dataset."""
    head = ("class", "test examples", "recall %", "precision %", "F1 %")
    parts = [
        TablePart(
            f"Worst classes: {_title(each)}",
            head,
            [
                (
                    each.classes[c],
                    str(each.examples[c]),
                    *(_percent(v[c]) for v in (each.recall, each.precision, each.f1)),
                )
                for c in each.worst[:_SHOWN]
            ],
            (0,),
        )
        for each in found
    ]
    records: list[dict[str, Value]] = [
        {
            **_place(each),
            "class": each.classes[c],
            "examples": int(each.examples[c]),
            "recall": _known(each.recall[c]),
            "precision": _known(each.precision[c]),
            "f1": _known(each.f1[c]),
        }
        for each in found
        for c in each.worst
    ]
    return Table("classes", records, _CLASS_COLUMNS, parts)


def confusions_table(found: Sequence[ClassScores]) -> Table:
    """Return one row a pair of classes of which the one was taken for the other; people are shown the most frequent."""
    parts, records = [], list[dict[str, Value]]()
    for each in found:
        pairs = [(c, answer, int(each.counts[c, answer])) for c, answer in each.confusions]
        rows = [
            (each.classes[c], each.classes[answer], str(count), _percent(count / each.examples[c]))
            for c, answer, count in pairs[:_SHOWN]
        ]
        if rows:
            parts.append(TablePart(f"Most frequent confusions: {_title(each)}", _PAIR_HEAD, rows, (0, 1)))
        records += [
            {
                **_place(each),
                "class": each.classes[c],
                "answer": each.classes[answer],
                "examples": count,
                "share": count / int(each.examples[c]),
            }
            for c, answer, count in pairs
        ]
    return Table("confusions", records, _PAIR_COLUMNS, parts)


def frame(found: Sequence[ClassScores]) -> pd.DataFrame:
    """Return one row a class and answer of the problems that are small enough to be drawn."""
    rows = [
        (_title(each), each.classes[c], each.classes[answer], float(each.counts[c, answer] / each.examples[c]),
         int(each.counts[c, answer]))
        for each in found[: look.MOST_PANELS]
        for c in sorted(each.worst)
        for answer in range(len(each.classes))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def chart(data: pd.DataFrame) -> alt.VConcatChart:
    """Draw it, a matrix a dataset."""
    return look.stack(_matrix, "panel", data)


def _matrix(data: pd.DataFrame) -> look.Layer:
    order = list(dict.fromkeys(data["truth"]))
    answers = [*order, *(name for name in dict.fromkeys(data["answer"]) if name not in order)]
    base = alt.Chart(data).encode(
        x=alt.X("answer:N", title="answer", sort=answers, axis=alt.Axis(orient="top", labelAngle=-40)),
        y=alt.Y("truth:N", title="class", sort=order),
    )
    tiles = base.mark_rect().encode(
        color=alt.Color("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range="ramp", interpolate="rgb")),
        tooltip=["truth:N", "answer:N", alt.Tooltip("share:Q", format=".1%"), "examples:Q"],
    )
    numbers = (
        base.transform_filter("datum.examples > 0")
        .transform_calculate(percent="100 * datum.share")
        .mark_text(fontSize=10)
        .encode(text=alt.Text("percent:Q", format=".0f"))
    )
    return alt.layer(tiles, numbers, data=data).properties(width=alt.Step(30), height=alt.Step(20))


def _title(each: ClassScores) -> str:
    row = each.row
    return f"{row.dataset}, {text.shots(row.shots)}: {row.method} · {row.backbone}"


def _place(each: ClassScores) -> dict[str, Value]:
    row = each.row
    return {name: getattr(row, name) for name in ("protocol", "dataset", "shots", "method", "backbone")}


def _percent(value: float) -> str:
    return text.NONE if math.isnan(value) else text.percent(float(value))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
