"""Summary: the answer of each board, how much of the suite has been run, the top rows, and how they were measured."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.report.recommendation import answer
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import Board, LeaderRow
from tlbench.report.section import Content
from tlbench.report.sections._interval_axis import Axis, axis
from tlbench.report.sections._summary_protocols import ProtocolBox, protocol_boxes, time_text

TITLE = "Summary"
ORDER = 10
TABLES = ()
FIGURES = ()
_FIRST = 5  # rows of a board that are drawn under its answer


@dataclass(frozen=True)
class BoardAnswer:
    """What a board answers.

    Attributes:
        sentence: In words.
        first: The first rows of the board, which are drawn under it; where none is ranked, those with the best means.
        axis: On which their intervals are drawn; None where there is no row.
        several: Whether the board has several backbones, so that each row names its own.
    """

    board: Board
    sentence: str
    first: tuple[LeaderRow, ...] = ()
    axis: Axis | None = None
    several: bool = False


@dataclass(frozen=True)
class SummaryContext:
    """What the template of the summary reads.

    Attributes:
        answers: One a board; transductive boards answer after the others.
        protocols: One a protocol.
        hours: What all cells took, as text.
    """

    answers: tuple[BoardAnswer, ...]
    protocols: tuple[ProtocolBox, ...]
    hours: str


def build(report: Report) -> Content:
    """Return the sentences and boxes of the summary; it has neither table nor figure."""
    return Content(
        context=SummaryContext(
            answers=answers(report),
            protocols=protocol_boxes(report.cells),
            hours=time_text(report.cells),
        )
    )


def answers(report: Report) -> tuple[BoardAnswer, ...]:
    """Return what each board answers, as far as it goes."""
    return tuple(sorted(map(_answer, report.boards), key=lambda each: each.board.transductive))


def _answer(board: Board) -> BoardAnswer:
    first = (board.ranked or board.unranked or board.bounds)[:_FIRST]
    return BoardAnswer(
        board,
        answer(board).sentence,
        first,
        axis(first) if first else None,
        several=len({row.backbone for row in board.rows}) > 1,
    )
