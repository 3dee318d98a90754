"""The plan of a suite comes back from the tags of its experiment as it was, or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tlbench.core.planned_setting import PlannedSetting, merge_settings
from tlbench.store.mlflow import planned_cells as packing
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.planned_cells import PLANNED_TAG, plan_tags, read_plan_tags
from tlbench.store.mlflow.stored_experiment import StoredExperiment

PROBE = PlannedSetting("classification", "{}", "linear_probe", "conv4/random", "digits", "5", (0, 1, 2), "f" * 64)
TEXT = st.text(max_size=5)
SEEDS = st.lists(st.integers(0, 2**31 - 1), max_size=4, unique=True).map(tuple)


@hypothesis_settings(deadline=None)
@given(
    st.lists(st.builds(PlannedSetting, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, SEEDS, TEXT, TEXT, TEXT, SEEDS), max_size=8)
)
def test_any_plan_comes_back(settings: list[PlannedSetting]) -> None:
    assert read_plan_tags(plan_tags(settings, 50)) == tuple(settings)


def test_a_hundred_thousand_cells_fit_into_few_tags() -> None:
    wide = [
        replace(
            PROBE, method=f"method{m}(lr={m / 7})", backbone=f"net{b}", dataset=f"data{d}", shots=s, seeds=(0, 1, 2, 3)
        )
        for m in range(50)
        for b in range(5)
        for d in range(25)
        for s in ("1", "5", "20", "full")
    ]
    tags = layout.experiment_tags("", "", 100_000, planned=wide)
    assert max(map(len, tags.values())) <= layout.EXPERIMENT_TAG_LENGTH
    assert sum(len(value) for name, value in tags.items() if name.startswith(PLANNED_TAG)) < 100_000
    assert StoredExperiment(tags, ()).plan.settings == tuple(wide)


def test_the_plan_has_the_words_of_the_runs() -> None:
    asked = replace(PROBE, options='{"val_fraction":0.2,"ways":5,"why":"so"}', method="m" * 7000)
    (stored,) = StoredExperiment(layout.experiment_tags("", "", 3, planned=[asked]), ()).plan.settings or ()
    assert stored.options == '{"val_fraction":"0.2","ways":"5","why":"so"}'
    assert stored.method == layout.fit("m" * 7000, layout.PARAM_LENGTH)
    assert replace(stored, options=asked.options, method=asked.method) == asked


def harmed(tags: dict[str, str]) -> Mapping[str, Mapping[str, str]]:
    """Return tags that hold no whole plan, by what is wrong with them."""
    head, first = json.loads(tags[PLANNED_TAG]), f"{PLANNED_TAG}.0"
    cut = base64.b64encode(base64.b64decode(tags[first])[:-9]).decode()
    return {
        "no head": {first: tags[first]},
        "a part missing": {PLANNED_TAG: tags[PLANNED_TAG]},
        "of another plan": tags | {first: plan_tags([], 9999)[first]},
        "another format": tags | {PLANNED_TAG: json.dumps(head | {"format": 2})},
        "no JSON": tags | {PLANNED_TAG: "{"},
        "another form": tags | {PLANNED_TAG: "[]"},
        "cut": packed(cut),
        "no base64": packed("%"),
        "other fields": packed(base64.b64encode(zlib.compress(b'{"protocol": 3}')).decode()),
    }


def packed(text: str) -> dict[str, str]:
    """Return tags whose one part is a text, and whose head is right about it."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:32]
    return {PLANNED_TAG: json.dumps({"format": 1, "parts": 1, "sha256": mark}), f"{PLANNED_TAG}.0": text}


@pytest.mark.parametrize("harm", list(harmed(plan_tags([PROBE], 9999))))
def test_what_is_no_whole_plan_is_none(harm: str) -> None:
    tags = plan_tags([PROBE], 9999)
    assert read_plan_tags(tags) == (PROBE,)
    assert read_plan_tags(harmed(tags)[harm]) is None


def test_parts_of_a_longer_plan_before_do_no_harm() -> None:
    longer = plan_tags([replace(PROBE, method=str(number)) for number in range(99)], 60)
    assert len(longer) > len(plan_tags([PROBE], 60))
    assert read_plan_tags(longer | plan_tags([PROBE], 60)) == (PROBE,)


def test_what_would_fill_the_memory_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_MOST_BYTES", 10_000)
    assert read_plan_tags(plan_tags([PROBE], 9999)) == (PROBE,)
    assert read_plan_tags(plan_tags([replace(PROBE, method="m" * 20_000)], 9999)) is None


def test_a_plan_that_an_earlier_tlbench_has_overwritten_is_none() -> None:
    ours = layout.experiment_tags("", "", 3, planned=[PROBE])
    assert StoredExperiment(ours, ()).plan.settings == (PROBE,)
    theirs = StoredExperiment(ours | layout.experiment_tags("", "", 4), ()).plan
    assert (theirs.cells, theirs.settings) == (4, None)


def test_merged_settings_have_every_seed_once() -> None:
    more, other = replace(PROBE, seeds=(2, 3)), replace(PROBE, shots="full")
    assert merge_settings([PROBE, other, more]) == (replace(PROBE, seeds=(0, 1, 2, 3)), other)
