"""Selectors pick exactly the cells they say, and refuse what they do not understand in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.core.errors import UserError
from tlbench.suite.selector import FIELDS, CellFacts, read_selector


def facts(**other: Any) -> CellFacts:
    base: dict[str, Any] = {
        "id": "ab12", "protocol": "classification", "method": "lora", "method_label": "lora(rank=4, alpha=2.0)",
        "backbone": "conv4", "backbone_label": "conv4/simclr@glyphs", "dataset": "digits", "weights": "pretrain",
        "shots": 5, "seed": 3,
    }  # fmt: skip
    return CellFacts(**(base | other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("method=lora", True),
        ("method=lor", False),
        ("method=lor*", True),
        ("method=LORA", False),
        ("method=maml,lora", True),
        ("method!=maml,lora", False),
        ("method!=maml", True),
        ("method=lora(rank=4*", True),
        ('method="lora(rank=4, alpha=2.0)"', True),
        ('label="lora*"', False),
        ("label='lora(rank=4, alpha=2.0)',x", True),
        ("backbone=conv4", True),
        ("backbone=*@glyphs", True),
        ("weights=pretrain id=ab*", True),
        ("shots<=5 shots>=5 shots<6 shots>4", True),
        ("shots<5", False),
        ("shots=1,5", True),
        ("shots!=1,5", False),
        ("shots<full", True),
        ("seed!=3", False),
        ("seed=0,3 dataset=digits", True),
        ("  seed=3\tdataset=glyphs ", False),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    assert read_selector(text).matches(facts()) is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("shots>=20", True), ("shots<=20", False), ("shots=full", True), ("shots!=full", False)]
)
def test_full_is_more_than_any_number(text: str, expected: bool) -> None:
    assert read_selector(text).matches(facts(shots="full")) is expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("metod=lora", "unknown field 'metod'", "did you mean 'method'?"),
        ("method<lora", "method cannot be compared with <", "use = or !="),
        ("seed=a*", "seed is a whole number, not 'a*'", ""),
        ("seed=full", "seed is a whole number, not 'full'", ""),
        ("shots=1.5", "shots is a whole number or full, not '1.5'", ""),
        ("method=", "'method=' is not understood", "method=lora*"),
        ("method==lora", "is not understood", ""),
        ("method = lora", "'method' is not understood", "write method=..."),
        ("method=lora,", "is not understood", ""),
        ('label="open', "is not understood", ""),
        ("stale", "'stale' is not understood", ""),
    ],
)
def test_refusals(text: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        read_selector(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_bare_words_are_for_the_caller() -> None:
    selector = read_selector("stale method=lora failed", ("stale", "failed"))
    assert selector.words == {"stale", "failed"}
    assert selector.matches(facts())
    assert not read_selector("stale method=maml", ("stale",)).matches(facts())
    with pytest.raises(UserError, match="'stael' is not understood") as caught:
        read_selector("stael", ("stale", "failed"))
    assert caught.value.hint == "did you mean 'stale'?"


@given(st.text(alphabet=st.sampled_from("methodsedi=!<>,*?[]\"' 0159()@/"), max_size=40))
def test_any_text_is_understood_or_refused_in_a_sentence(text: str) -> None:
    assert _outcome(text) in ("True", "False") or _outcome(text).startswith("selector ")


def _outcome(text: str) -> str:
    try:
        return str(read_selector(text, ("stale",)).matches(facts()))
    except UserError as error:
        return error.message


@given(
    st.sampled_from(FIELDS), st.sampled_from(["=", "!="]), st.sampled_from(["lora", "5", "3", "*", "full", "digits"])
)
def test_unequal_is_not_equal(field: str, op: str, value: str) -> None:
    if field in ("shots", "seed") and not value.isdigit() and (field, value) != ("shots", "full"):
        return
    other = "!=" if op == "=" else "="
    equal, unequal = (read_selector(f"{field}{sign}{value}").matches(facts()) for sign in (op, other))
    assert equal != unequal


@given(st.integers(1, 50), st.one_of(st.integers(1, 50), st.just("full")))
def test_order_splits_in_three(bound: int, shots: Any) -> None:
    met = [read_selector(f"shots{op}{bound}").matches(facts(shots=shots)) for op in ("<", "=", ">")]
    assert sum(met) == 1
    assert read_selector(f"shots<={bound}").matches(facts(shots=shots)) == (met[0] or met[1])
    assert read_selector(f"shots>={bound}").matches(facts(shots=shots)) == (met[2] or met[1])


def test_cells_are_selected_by_the_same_facts_that_are_stored(plan_text: Any) -> None:
    plan = plan_text(
        "name: x\ngrids:\n- {protocol: classification, methods: [{name: lora, params: {rank: 4}}, linear_probe],"
        " backbones: [conv4, {name: conv4, pretrain: {method: simclr, dataset: glyphs}}], datasets: [digits],"
        " shots: [1, 5, full], seeds: 2}\n"
    )
    for text in ("label=lora(rank=4)", "backbone=*simclr*", "weights=random shots>=5", "seed=1 method!=lora", ""):
        selector = read_selector(text)
        assert selector.filter(plan.cells) == [cell for cell in plan.cells if selector.matches(cell.describe())]
    assert len(read_selector("weights=random shots>=5 seed=0").filter(plan.cells)) == 4
