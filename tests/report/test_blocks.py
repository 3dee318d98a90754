"""Blocks of a plan: by hand, and what holds of any plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlbench.report.rows.blocks import Block, blocks

A1, A5, B1 = ("a", "1"), ("a", "5"), ("b", "1")


def test_one_grid_is_one_block() -> None:
    assert blocks({"x": [A1, B1], "y": [A1, B1]}) == (Block(frozenset("xy"), frozenset({A1, B1})),)


def test_rows_meet_on_what_all_of_them_were_planned_on() -> None:
    assert blocks({"x": [A1, B1], "y": [A1, B1], "z": [A1, A5], "w": [A1, A5]}) == (
        Block(frozenset("wxyz"), frozenset({A1})),
        Block(frozenset("wz"), frozenset({A1, A5})),
        Block(frozenset("xy"), frozenset({A1, B1})),
    )


def test_a_row_alone_has_a_block_for_what_no_other_has() -> None:
    assert blocks({"x": [A1, B1], "y": [A1]}) == (
        Block(frozenset("xy"), frozenset({A1})),
        Block(frozenset("x"), frozenset({A1, B1})),
    )
    assert blocks({"x": [A1]}) == (Block(frozenset("x"), frozenset({A1})),)
    assert blocks({"x": []}) == ()


@given(st.dictionaries(st.sampled_from("uvwxyz"), st.sets(st.sampled_from([A1, A5, B1, ("b", "5"), ("c", "1")]))))
def test_every_row_of_a_block_was_planned_on_all_of_it_and_nothing_is_lost(
    planned: dict[str, set[tuple[str, str]]],
) -> None:
    found = blocks(planned)
    assert all(planned[row] >= block.strata for block in found for row in block.rows)
    shown = {(row, key) for block in found for row in block.rows for key in block.strata}
    assert shown == {(row, key) for row, strata in planned.items() for key in strata}
    assert len({(block.rows, block.strata) for block in found}) == len(found)
