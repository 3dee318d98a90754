"""Snapshots: written once, checked against their hashes, readable in the old form, and held against each other."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from made_results import results, run
from test_compare import command  # noqa: F401

from tlbench.core.errors import UserError
from tlbench.core.planned_setting import PlannedSetting
from tlbench.report import report_data
from tlbench.report.comparison.snapshot_changes import changes_text, snapshot_changes
from tlbench.report.comparison.snapshots import freeze, read, refuse_tag, tags
from tlbench.report.results import Results, join, load

KEPT = Path(__file__).parents[2] / "reports"
BEFORE, AFTER = (0.70, 0.72, 0.74), (0.75, 0.74, 0.79)


def suite(*runs: Any) -> Results:
    """Return a probe that stays as it is, and further runs."""
    return results([*(run("probe", value, seed) for seed, value in enumerate(BEFORE)), *runs], baseline="probe")


def lora(values: tuple[float, ...], **changed: Any) -> list[Any]:
    return [run("lora", value, seed, **changed) for seed, value in enumerate(values)]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots: ``one``, and ``two`` in which lora is better, tune is new and old is gone."""
    reports = tmp_path_factory.mktemp("reports")
    freeze(report_data.build_report(suite(*lora(BEFORE), run("old", 0.5))), "one", reports)
    freeze(report_data.build_report(suite(*lora(AFTER), run("lora", 0.0, 7), run("tune", 0.9))), "two", reports)
    return reports


def test_a_snapshot_holds_the_report_the_records_the_suite_and_their_hashes(shelf: Path) -> None:
    folder = shelf / "frozen" / "one"
    names = {path.name for path in folder.iterdir()}
    assert {"index.html", "leaderboard.csv", "leaderboard.md", "settings.csv", "records.parquet", "made.yaml"} < names
    assert (folder / "made.yaml").read_text() == "name: made\n"
    hashes = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert hashes.keys() == names - {"SHA256SUMS"}
    for name, expected in hashes.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert len(pd.read_parquet(folder / "records.parquet")) == 7
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_hashes_are_checked_by_the_usual_tool(shelf: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=shelf / "frozen" / "two", check=False)
    assert done.returncode == 0


def test_reading_returns_what_was_frozen(shelf: Path) -> None:
    snapshot = read("one", shelf)
    pd.testing.assert_frame_equal(snapshot.records, suite(*lora(BEFORE), run("old", 0.5)).done, check_dtype=False)
    facts = json.loads((snapshot.folder / "snapshot.json").read_text())
    assert (facts["suite"], facts["baseline"], facts["cells"]) == ("made", "probe", 7)
    assert tags(shelf) == ["one", "two"]
    assert snapshot.planned_settings is None


def test_a_tag_is_used_once(shelf: Path) -> None:
    before = (shelf / "frozen" / "one" / "SHA256SUMS").read_text()
    with pytest.raises(UserError, match="never overwritten"):
        freeze(report_data.build_report(suite()), "one", shelf)
    assert (shelf / "frozen" / "one" / "SHA256SUMS").read_text() == before


@pytest.mark.parametrize("tag", ["", "../up", "a/b", ".hidden", "a b", "-x"])
def test_a_tag_is_a_plain_name(tag: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be a tag"):
        refuse_tag(tag, tmp_path)


def test_nothing_is_not_frozen(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to freeze"):
        freeze(report_data.build_report(results([])), "empty", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_freeze_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tlbench.report.comparison.snapshots._hash", lambda _: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        freeze(report_data.build_report(suite()), "one", tmp_path)
    assert list((tmp_path / "frozen").iterdir()) == []


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_a_tampered_snapshot_is_not_read(harm: str, tmp_path: Path) -> None:
    freeze(report_data.build_report(suite()), "one", tmp_path)
    victim = tmp_path / "frozen" / "one" / "leaderboard.md"
    if harm == "changed":
        victim.write_text(victim.read_text().replace("probe", "prober"))
    else:
        victim.unlink()
    with pytest.raises(UserError, match=r"leaderboard\.md: (not what|missing)"):
        read("one", tmp_path)


def test_an_unknown_tag_names_the_nearest(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'two'"):
        read("twoo", shelf)
    with pytest.raises(UserError, match="--freeze"):
        read("any", tmp_path)


def test_what_changed_is_a_paired_test_over_common_seeds(shelf: Path) -> None:
    found = snapshot_changes(read("one", shelf), read("two", shelf))
    (change,) = found.changed
    expected = scipy.stats.ttest_rel(AFTER, BEFORE)
    assert change.setting == ("classification", "digits", "5", "lora", "resnet18/random")
    assert (change.first, change.second) == (pytest.approx(np.mean(BEFORE)), pytest.approx(np.mean(AFTER)))
    assert change.contrast is not None
    assert change.contrast.p == pytest.approx(expected.pvalue)
    assert change.contrast.estimate.low == pytest.approx(expected.confidence_interval().low)
    assert change.p_holm == pytest.approx(min(1.0, 2 * expected.pvalue))  # the probe, unchanged, is of the family
    assert found.compared == 2
    assert [setting[3] for setting in found.only_first] == ["old"]
    assert [setting[3] for setting in found.only_second] == ["tune"]
    assert found.notes == ()
    text = changes_text(found)
    assert "one against two: 2 settings in both, 1 with other results" in text
    assert "only in two: 1 setting\n  tune | resnet18/random | digits | 5 shots | classification" in text


def test_a_snapshot_against_itself_changed_nothing(shelf: Path) -> None:
    found = snapshot_changes(read("one", shelf), read("one", shelf))
    assert (found.compared, found.changed, found.only_first, found.only_second) == (3, (), (), ())


def test_other_content_under_one_name_is_told(shelf: Path, tmp_path: Path) -> None:
    other = [run("probe", value, seed, dataset_fingerprint="0" * 64) for seed, value in enumerate(BEFORE)]
    freeze(report_data.build_report(results(other)), "other", tmp_path)
    (note,) = snapshot_changes(read("one", shelf), read("other", tmp_path)).notes
    assert note == "not the same content under one name: digits"


def test_kept_snapshots_are_whole_and_agree_where_they_meet() -> None:
    """Two suites share settings, and ran on different days."""
    assert {"quickstart", "finetuning", "pretraining", "search"} <= set(tags(KEPT))
    for tag in tags(KEPT):
        kept = read(tag, KEPT)
        assert snapshot_changes(kept, kept).changed == ()
        assert snapshot_changes(kept, kept).compared > 0
    found = snapshot_changes(read("finetuning", KEPT), read("pretraining", KEPT))
    assert (found.compared, found.changed) == (8, ())


def test_joined_suites_count_a_shared_cell_once() -> None:
    one = results([*lora(BEFORE), run("probe", 0.5)], "one", "probe", planned=5)
    two = results([run("probe", 0.5), run("tune", 0.6)], "two", planned=3)
    both = join([one, two])
    assert (both.suite, both.baseline, len(both.done), both.planned) == ("one+two", "probe", 5, 7)
    assert both.suite_text == "name: one\n---\nname: two\n"
    assert both.planned_settings is None
    first = PlannedSetting("classification", "{}", "lora", "r", "digits", "5", (0, 1))
    second = replace(first, method="probe")
    ours = replace(one, planned_settings=(first, second))
    theirs = replace(two, planned_settings=(replace(second, seeds=(1, 2)),))
    assert join([ours, theirs]).planned_settings == (first, replace(second, seeds=(0, 1, 2)))
    assert join([ours, theirs]).planned == 5, "the cell that both plan counts once"
    assert join([ours, two]).planned_settings is None
    assert join([one]) is one
    assert both.notes == ()


def test_joined_suites_say_where_they_disagree() -> None:
    one = results([run("probe", 0.5)], "one", "probe")
    two = results([run("probe", 0.6)], "two", "tune")
    both = join([one, two])
    assert both.baseline == ""
    assert both.done["test/accuracy"].tolist() == [0.5]
    assert any("several baselines" in note for note in both.notes)
    assert any("another result in a later suite" in note for note in both.notes)
    assert both.planned is None


def test_the_command_freezes_joins_and_compares(command: Any, store: str, tmp_path: Path) -> None:  # noqa: F811
    code, out, _ = command("report", "demo", "fewshot", "--freeze", "v1")
    assert code == 0
    assert (tmp_path / "reports" / "demo+fewshot" / "index.html").is_file()
    assert "reports/frozen/v1" in out
    snapshot = read("v1", tmp_path / "reports")
    assert len(snapshot.records) == len(load("demo", store).done)
    assert snapshot.planned_settings is None, "none is known of fewshot"
    code, _, err = command("report", "demo", "--freeze", "v1")
    assert (code, "never overwritten" in err) == (2, True)
    assert not (tmp_path / "reports" / "demo").exists()
    assert command("report", "demo", "--freeze", "alone")[0] == 0
    assert read("alone", tmp_path / "reports").planned_settings == load("demo", store).planned_settings is not None
    shutil.copytree(tmp_path / "reports" / "frozen" / "v1", tmp_path / "reports" / "frozen" / "v2")
    code, out, _ = command("compare", "v1", "v2", "--json")
    found = json.loads(out)
    assert (code, found["changed"], found["only_first"], found["only_second"]) == (0, [], [], [])
    assert found["compared"] == 18
    code, _, err = command("compare", "v1", "v3")
    assert (code, "'v3' is none" in err) == (2, True)


def test_settings_are_the_same_under_names_that_differ(tmp_path: Path) -> None:
    """Beside a second backbone of its kind, a backbone has a longer name on the page."""
    runs = [run("probe", 0.5 + seed / 100, seed) for seed in range(3)]
    wide = [run("probe", 0.5 + seed / 100, seed, backbone_label="resnet18(width=2)/random") for seed in range(3)]
    freeze(report_data.build_report(results(runs)), "one", tmp_path)
    freeze(report_data.build_report(results([*runs, *wide])), "two", tmp_path)
    found = snapshot_changes(read("one", tmp_path), read("two", tmp_path))
    assert (found.compared, found.changed, found.only_first) == (1, (), ())
    assert [setting[4] for setting in found.only_second] == ["resnet18(width=2)/random"]
