"""Mutants change one place of a definition, and say what is wrong where they cannot."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from mutant import DoesNotApplyError, Mutant

SOURCE = dedent(
    '''\
    """A module."""

    import math

    LIMIT = 10  # of everything
    PAIRS = {"one": 1, "two": 2, **{}}


    class Loop:
        """Goes round."""

        rate: float = 0.5

        @staticmethod
        def length(items: list[int], *, least: int = 1) -> int:
            """Return how many there are."""
            return max(len(items), least)  # never none

        def run(self, items, done):
            total = 0
            for item in items:  # é: two bytes
                if item > LIMIT and not done and self.rate:
                    continue
                elif item < 0:
                    break
                total += item
            try:
                self.tell(total, name=f"sum {total + 1}", loud=True)
            except (KeyError, ValueError) as error:
                raise RuntimeError from error
            return [x + 1 for x in items if x if x > 1], (
                total
                * math.pi
            )


    def outer(first, second=2):
        def inner(z):
            return z.detach() + first * second

        first = inner(first); second = inner(second)
        return inner
    '''
)


@pytest.fixture
def mutated(tmp_path: Path) -> Callable[..., str]:
    """Return the source as it is with a mutant."""
    (tmp_path / "tlbench").mkdir()
    (tmp_path / "tlbench/toy.py").write_text(SOURCE)

    def change(where: str, old: str, new: str, nth: int | None = None, module: str = "tlbench.toy") -> str:
        return Mutant("a defect", f"{module}:{where}" if where else module, old, new, "", nth).mutated(tmp_path)

    return change


@pytest.mark.parametrize(
    ("where", "old", "new", "before", "after"),
    [
        ("LIMIT", "10", "11", "LIMIT = 10  #", "LIMIT = 11  #"),
        ("", "LIMIT = 10", "LIMIT = 11", "LIMIT = 10  #", "LIMIT = 11  #"),
        ("PAIRS", "'two': 2", "'two': 3", '"two": 2', '"two": 3'),
        ("Loop.rate", "0.5", "1.5", "= 0.5", "= 1.5"),
        ("Loop.length", "max(len(items),\n  least)", "least", "max(len(items), least)  #", "least  #"),
        ("Loop.length", "least: int = 1", "least: int = 2", "int = 1", "int = 2"),
        ("Loop.run", "item > LIMIT", "item >= LIMIT", "item > LIMIT", "item >= LIMIT"),
        ("Loop.run", "if item < 0:", "if item <= 0:", "item < 0", "item <= 0"),
        ("Loop.run", "for item in items:", "for item in items[1:]:", "in items:  #", "in items[1:]:  #"),
        ("Loop.run", "except (KeyError, ValueError) as error:", "except A as error:", "(KeyError, ValueError)", "A"),
        ("Loop.run", "KeyError", "OSError", "KeyError", "OSError"),
        ("Loop.run", "loud=True", "loud=False", "loud=True", "loud=False"),
        ("Loop.run", "* math.pi", "+ math.e", "total\n            * math.pi\n", "total + math.e\n"),
        ("Loop.run", "total += item", "total -= item", "+= item", "-= item"),
        ("Loop.run", "break", "return", "break", "return"),
        ("outer.inner", ".detach()", ".clone()", ".detach()", ".clone()"),
        ("outer", "z.detach()", "z", "z.detach()", "z"),
        ("outer", "second=2", "second=3", "second=2", "second=3"),
    ],
)  # fmt: skip
def test_only_the_place_that_is_meant_changes(
    mutated: Callable[..., str], where: str, old: str, new: str, before: str, after: str
) -> None:
    assert SOURCE.count(before) == 1
    assert mutated(where, old, new) == SOURCE.replace(before, after)


@pytest.mark.parametrize(
    ("where", "old", "before", "after"),
    [
        ("Loop.run", "and not done", " and not done", ""),
        ("Loop.run", "item > LIMIT", "item > LIMIT and ", ""),
        ("Loop.run", "name=f'sum {total + 1}'", 'name=f"sum {total + 1}", ', ""),
        ("Loop.run", "total += item", "            total += item\n", ""),
        ("Loop.run", "break", "break", "pass"),
        ("Loop.run", "x > 1", " if x > 1", ""),
        ("Loop.run", "KeyError", "(KeyError, ValueError)", "(ValueError,)"),
        ("Loop.run", "+ 1", "", ""),
        ("Loop.length", "least", ", least)", ")"),
        ("Loop.length", "@staticmethod", "    @staticmethod\n", ""),
        ("PAIRS", "**{}", ", **{}", ""),
        ("PAIRS", '"one": 1', '"one": 1, ', ""),
        ("outer.inner", "* second", " * second", ""),
        ("outer", "first = inner(first)", "first = inner(first); ", ""),
        ("Loop", "rate: float = 0.5", "    rate: float = 0.5\n", ""),
        ("", "class Loop: ...", "", ""),
    ],
)
def test_what_is_left_out(mutated: Callable[..., str], where: str, old: str, before: str, after: str) -> None:
    if not before:
        with pytest.raises(DoesNotApplyError, match=r"stands there \d times"):
            mutated(where, old, "")
    else:
        assert SOURCE.count(before) == 1
        assert ast.dump(ast.parse(mutated(where, old, ""))) == ast.dump(ast.parse(SOURCE.replace(before, after)))


def test_in_a_string_with_fields_the_statement_is_written_anew(mutated: Callable[..., str]) -> None:
    changed = mutated("Loop.run", "total + 1", "total - 1")
    assert (
        len([1 for ours, theirs in zip(SOURCE.splitlines(), changed.splitlines(), strict=True) if ours != theirs]) == 1
    )
    assert "total - 1" in changed


def test_one_of_several_is_named_by_its_number(mutated: Callable[..., str]) -> None:
    with pytest.raises(DoesNotApplyError, match="'1' stands there 3 times"):
        mutated("Loop.run", "1", "3")
    assert "x + 3" in mutated("Loop.run", "1", "3", nth=2)
    with pytest.raises(DoesNotApplyError, match="stands there 3 times"):
        mutated("Loop.run", "1", "3", nth=4)


def test_statements_may_be_several_and_parts_of_the_next_definition_are_not_among_them(
    mutated: Callable[..., str],
) -> None:
    both = "first = inner(first)\nsecond = inner(second)"
    assert "second = inner(second)\n    first = inner(first)" in mutated(
        "outer", both, "\n".join(both.split("\n")[::-1])
    )
    assert "LIMIT" not in mutated("", "import math\nLIMIT = 10", "import math").partition("class")[0]
    with pytest.raises(DoesNotApplyError, match="stands there 0 times"):
        mutated("LIMIT", "LIMIT = 10\nPAIRS = {'one': 1, 'two': 2, **{}}", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"where": "Loop.rum"}, "there is no Loop.rum in tlbench.toy; see Loop.run"),
        ({"where": "length"}, "there is no length in tlbench.toy; see Loop.length"),
        ({"module": "tlbench.toys"}, "there is no tlbench.toys; see tlbench.toy"),
        ({"module": "tlbench.here.toy"}, "there is no tlbench.here.toy; see tlbench.toy"),
        ({"old": "first * second", "new": "first"}, "'first * second' stands there 0 times; see outer, outer.inner"),
        ({"old": "thing > LIMIT", "new": "False"}, "'thing > LIMIT' stands there 0 times; see item > LIMIT"),
        ({"old": "not Python", "new": "1 +"}, "'not Python' and '1 +' are no Python of the same kind"),
        ({"old": "loud=True", "new": "if True:"}, "'loud=True' and 'if True:' are no Python of the same kind"),
        ({"old": "total += item", "new": "total  +=  item"}, "it changes nothing"),
        ({"where": "Loop.length", "old": "len", "new": ""}, "'len' stands there 0 times"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_near(
    mutated: Callable[..., str], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(DoesNotApplyError) as error:
        mutated(**{"where": "Loop.run", "old": "break", "new": "return"} | arguments)
    assert str(error.value).startswith("a defect: tlbench.")
    assert message in str(error.value)


def test_a_file_that_is_no_python_is_changed_as_text(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/page.js").write_text("let a = 1, b = a;")
    assert Mutant("a", "pages/page.js", "a = 1", "a = 2", "").mutated(tmp_path) == "let a = 2, b = a;"
    with pytest.raises(DoesNotApplyError, match="'a' occurs 2 times"):
        Mutant("a", "pages/page.js", "a", "b", "").mutated(tmp_path)


def test_a_definition_that_has_moved_is_found_where_it_is_now(mutated: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "tlbench/rooms").mkdir()
    (tmp_path / "tlbench/rooms/lounge.py").write_text("class Sofa:\n    def sit(self): return 1\n")
    with pytest.raises(DoesNotApplyError, match=r"no Sofa.sit in tlbench.toy; see tlbench.rooms.lounge:Sofa.sit"):
        mutated("Sofa.sit", "1", "2")
