"""Summary: the answer of each board, how much of the suite has been run, the top rows, and how they were measured."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.report.recommendation import answer
from tlbench.report.report_data import Report
from tlbench.report.rows.leaderboard import Board
from tlbench.report.section import Content
from tlbench.report.sections._summary_protocols import ProtocolBox, protocol_boxes, time_text

TITLE = "Summary"
ORDER = 10
TABLES = ()
FIGURES = ()


@dataclass(frozen=True)
class BoardAnswer:
    """What a board answers, in one sentence."""

    board: Board
    sentence: str


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
    found = [BoardAnswer(board, answer(board).sentence) for board in report.boards]
    return tuple(sorted(found, key=lambda each: each.board.transductive))
