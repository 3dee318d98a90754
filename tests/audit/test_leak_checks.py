"""Planted leaks are found, each by the check that is there for it, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audited_cells import EPISODES, HONEST, PAIR, TINY, Results, verdicts
from small_suites import FINETUNE

from tlbench.audit import leak_checks
from tlbench.audit.results import (
    BATCHES,
    BEYOND_THE_BUDGET,
    TARGET_LABELS,
    TEST_LABELS,
)
from tlbench.audit.results import CORPUS as PRE_TRAINING
from tlbench.data.dataset import Split
from tlbench.worker import teacher as teachers


@pytest.mark.parametrize("method", [FINETUNE, "linear_probe", "fair", "selects"])
def test_an_honest_method_passes_every_check(
    plugins: None, audited: Callable[..., Results], decoded: Path, method: object
) -> None:
    before = sorted(path.name for path in decoded.iterdir())
    assert verdicts(audited(methods=[method])) == HONEST | {BEYOND_THE_BUDGET: "passed"}
    left = {path.name for path in decoded.iterdir()}.difference(before)
    assert left <= {"datasets", "features", "pretrained", "tokens"}, "nothing else is left behind"


def test_test_labels_behind_a_back_door_are_found(plugins: None, audited: Callable[..., Results]) -> None:
    found = audited(methods=["peeks"])
    assert found[TEST_LABELS] == ("failed", "differs in model.head.hint")
    assert verdicts(found)[BATCHES] == verdicts(found)[BEYOND_THE_BUDGET] == "passed"


def test_labels_beyond_the_budget_behind_a_back_door_are_found(plugins: None, audited: Callable[..., Results]) -> None:
    found = audited(methods=["hoards"])
    assert found[BEYOND_THE_BUDGET] == ("failed", "differs in curves/seen")
    assert verdicts(found)[TEST_LABELS] == "passed"


def test_a_protocol_that_hands_out_test_labels_is_found(plugins: None, audited: Callable[..., Results]) -> None:
    found = audited(protocol="generous", methods=["selects"])
    assert found[TEST_LABELS] == ("failed", "differs in validation/accuracy")


def test_a_protocol_that_hands_out_target_labels_is_found(plugins: None, audited: Callable[..., Results]) -> None:
    grid = {"datasets": [PAIR], "shots": [0], "methods": ["uses_target"]}
    assert verdicts(audited(protocol="adaptation", **grid)) == HONEST | {TARGET_LABELS: "passed"}
    found = audited(protocol="open_target", **grid)
    assert found[TARGET_LABELS][0] == "failed"
    assert "model.head.centre" in found[TARGET_LABELS][1]
    assert verdicts(found)[TEST_LABELS] == "passed"


def test_target_labels_within_the_shots_may_be_used_and_an_oracle_may_use_all(
    plugins: None, audited: Callable[..., Results]
) -> None:
    grid = {"protocol": "adaptation", "datasets": [PAIR]}
    assert verdicts(audited(methods=["uses_target"], shots=[3], **grid)) == HONEST | {TARGET_LABELS: "passed"}
    params = {"steps": 4, "checks": 2, "bottleneck": 4}
    oracle = audited(methods=[{"name": "target_oracle", "params": params}], shots=[0], **grid)
    assert oracle[TARGET_LABELS] == ("not applicable", "an oracle is given these labels, as it declares")
    assert verdicts(oracle)[TEST_LABELS] == "passed"


def test_test_classes_reach_no_training(audited: Callable[..., Results]) -> None:
    params = {"episodes": 2, "check_every": 1, "checks": 2, "ways": 3, "queries": 2}
    assert verdicts(audited(methods=[{"name": "protonet", "params": params}], **EPISODES)) == HONEST


def test_what_is_random_anyway_is_reported_apart_from_a_leak(plugins: None, audited: Callable[..., Results]) -> None:
    verdict, detail = audited(methods=["restless"])[TEST_LABELS]
    assert verdict == "failed"
    assert detail.endswith("but so it does when nothing was changed, in model.head.noise: not reproducible here")


def test_pre_training_on_the_target_is_audited(
    audited: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = {**TINY, "pretrain": {"method": "supervised", "dataset": "digits", "params": {"epochs": 1}}}
    grid = {"methods": ["nearest_centroid"], "backbones": [pretrained], "shots": ["full"]}
    found = audited(**grid)
    assert verdicts(found) == HONEST | {BEYOND_THE_BUDGET: "not applicable", PRE_TRAINING: "passed"}
    assert found[BEYOND_THE_BUDGET][1] == "every training label is in the budget"

    def everything(dataset: Any, labelled: bool) -> Split:
        return Split(dataset.x, dataset.y, np.arange(len(dataset.y)))

    monkeypatch.setattr(leak_checks, "corpus", everything)
    verdict, detail = audited(**grid)[PRE_TRAINING]
    assert (verdict, detail) == ("failed", "supervised(epochs=1) is given other examples of digits")


def test_teachers_are_trained_anew_on_changed_labels_and_never_kept(
    plugins: None, audited: Callable[..., Results], decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = {"method": "finetune", "params": {"epochs": 1}, "backbone": TINY}
    trained: list[str] = []
    fit_cell = teachers.fit_cell
    monkeypatch.setattr(teachers, "fit_cell", lambda cell, *rest: (trained.append(cell.id), fit_cell(cell, *rest))[1])
    kept = list((decoded / "teachers").glob("*")) if (decoded / "teachers").exists() else []
    found = audited(methods=[{"name": "copy", "teacher": teacher}])
    assert verdicts(found) == HONEST | {BEYOND_THE_BUDGET: "passed"}
    assert len(trained) == 3, "as it is, with other test labels, and with others beyond the budget"
    assert (list((decoded / "teachers").glob("*")) if (decoded / "teachers").exists() else []) == kept


def test_texts_are_audited_with_a_tokeniser_of_their_own(
    audited: Callable[..., Results], decoded: Path, tmp_path: Path
) -> None:
    file = tmp_path / "said.csv"
    words = {"food": "bread soup apple rice", "money": "bank card cash loan"}
    rows = [
        f"please {word} number {place},{label},{'test' if place % 3 == 0 else 'train'}"
        for label, text in words.items()
        for place, word in enumerate(text.split() * 6)
    ]
    file.write_text("\n".join(["text,label,split", *rows]))
    backbone = {"name": "text_tiny", "vocabulary": 512}
    found = audited(methods=["nearest_centroid"], backbones=[backbone], datasets=[{"name": "texts", "path": str(file)}])
    assert verdicts(found) == HONEST | {BEYOND_THE_BUDGET: "passed"}
