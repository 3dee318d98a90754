"""Coverage, staleness, warnings and answers of a report before it is written; and how a row is made again."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from urllib.parse import unquote

import pandas as pd
import pytest
from made_results import results, run

from tlbench.audit.results import Audit, AuditedCell, CheckResult, Overlap
from tlbench.core.planned_setting import PlannedSetting
from tlbench.plugins import registry
from tlbench.report import report_data
from tlbench.report.built_sections import build_sections
from tlbench.report.html import html
from tlbench.report.results import join
from tlbench.report.sections._provenance_reproduction import reproductions
from tlbench.report.sections._search_rows import search_rows
from tlbench.report.sections._summary_protocols import protocol_boxes
from tlbench.report.sections.leaderboard import trainings_of_rows
from tlbench.report.sections.summary import answers
from tlbench.report.staleness import stale
from tlbench.store.mlflow import schema as layout
from tlbench.store.mlflow.stored_experiment import StoredRun
from tlbench.suite.selector import CellFacts, read_selector

PROBE = registry.declaration("methods", "linear_probe").code_mark
SIMCLR = registry.declaration("methods", "simclr")
HERE = registry.declaration("protocols", "classification").code_mark


def marked(method: str, protocol: str = HERE) -> dict[str, str]:
    return {"tlbench.provenance.method_source": method, "tlbench.provenance.protocol_source": protocol}


@pytest.mark.parametrize(
    ("method", "protocol", "old"),
    [
        (PROBE, HERE, False),
        ("", "", False),
        ("0123456789abcdef", HERE, True),
        (PROBE, "0123456789abcdef", True),
        (f"{PROBE}+{SIMCLR.code_mark}", HERE, False),
        (f"{PROBE}+0123456789abcdef", HERE, True),
        (f"{PROBE}+", HERE, False),
    ],
)
def test_a_result_is_stale_when_any_of_its_code_has_changed(method: str, protocol: str, old: bool) -> None:
    found = results([run("linear_probe", 0.5, tags=marked(method, protocol)), run("linear_probe", 0.5, seed=1)])
    cell = found.done["cell"].iloc[0]
    assert stale(found.done, found.trials) == ({cell} if old else frozenset())


def test_a_result_is_stale_when_the_search_that_tuned_it_is() -> None:
    def trial(search: str, number: int, method: str) -> StoredRun:
        tags = {layout.TRIAL_TAG: str(number), layout.SETTING_TAG: search}
        return run("linear_probe", 0.5, 2**31, shots=f"{search}{number}", tags=tags | marked(method))

    tuned = [
        run("linear_probe", 0.5, seed, tags=marked(PROBE) | {layout.SETTING_TAG: search})
        for seed, search in enumerate(("calm", "changed", "unmarked", ""))
    ]
    tried = [("calm", 1, PROBE), ("changed", 1, PROBE), ("changed", 2, "0" * 16), ("unmarked", 1, "")]
    found = results([*tuned, *(trial(*each) for each in tried)])
    assert len(found.trials) == 4
    changed = found.done.loc[found.done["setting"].eq("changed"), "cell"]
    assert stale(found.done, found.trials) == set(changed) != set()


def test_methods_of_elsewhere_are_not_called_stale() -> None:
    found = results([run("not_installed_here", 0.5, tags=marked("0123456789abcdef"))])
    assert stale(found.done, found.trials) == frozenset()


def test_coverage_adds_up() -> None:
    runs = [run("linear_probe", 0.5, seed, tags=marked("0" * 16 if seed else PROBE)) for seed in range(3)]
    report = report_data.build_report(results(runs, planned=7))
    assert report.coverage.parts == (
        ("done", 1), ("stale", 2), ("failed", 0), ("missing", 4), ("not applicable", 0)
    )  # fmt: skip
    assert any("stale results" in warning and "2 cells" in warning for warning in report.warnings)


def test_what_is_missing_is_what_was_planned() -> None:
    """Three cells are planned, of which one is done and one failed; two results are of an earlier version."""
    asked = PlannedSetting("classification", "{}", "linear_probe", "resnet18/random", "digits", "5", (0, 1, 2))
    asked = replace(asked, fingerprint="f" * 60 + "digi")
    runs = [run("linear_probe", 0.5, seed) for seed in (0, 7, 8)]
    broken = replace(run("linear_probe", 0.5, 1), status="FAILED")
    found = replace(results([*runs, broken], planned=3), planned_settings=(asked,))
    report = report_data.build_report(found)
    assert (report.coverage.missing, report.coverage.failed) == (1, 1)
    assert "results of cells that the suite does not ask for, as of an earlier version of it: 2" in report.warnings
    assert "cells that have not been run: 1 of 3" in report.warnings
    known = report_data.build_report(replace(found, planned_settings=None))
    assert known.coverage.missing == 0, "numbers alone cannot tell"


def test_each_board_answers_for_its_own_cells() -> None:
    image = [
        run(name, 0.5 + gain + seed * (1 + gain) / 100, seed)
        for name, gain in (("a", 0), ("b", 0.3))
        for seed in range(3)
    ]
    text = [run("c", 0.9, seed, dataset="pydocs", backbone_label="text_tiny") for seed in range(3)]
    apart = [run("d", 0.99, seed, tags={"tlbench.transductive": "true"}) for seed in range(3)]
    report = report_data.build_report(results([*image, *text, *apart]))
    told = {each.board.title: each.sentence for each in answers(report)}
    assert list(told) == ["classification: digits", "classification: pydocs", "classification, transductive: digits"]
    assert "b (81.3%) is the best of 2 methods" in told["classification: digits"]
    assert "only c was measured" in told["classification: pydocs"]


def test_trials_stand_under_the_labels_of_the_cells_that_use_them() -> None:
    """A protocol with several options has several labels, which no single trial knows of."""
    named = {"protocol": "episodic"}
    cells, tried = [], []
    for ways in ("5", "20"):
        option, key = {"option.ways": ways, **named}, {"tlbench.setting": f"key of {ways}"}
        cells += [run("lora", 0.5 + seed / 100, seed, f"d{ways}", tags=key, **option) for seed in range(3)]
        trial = run("lora", 0.0, 1, f"d{ways}", tags={**key, "tlbench.trial": "1", "tlbench.values": "{}"}, **option)
        tried.append(replace(trial, metrics={"validation/accuracy": 0.6, "cost/seconds": 1.0}))
    report = report_data.build_report(results([*cells, *tried]))
    found = search_rows(report.cells, report.results.trials)
    assert [(each.protocol, each.test) for each in found] == [
        ("episodic (ways=20)", pytest.approx(0.51)),
        ("episodic (ways=5)", pytest.approx(0.51)),
    ]
    assert trainings_of_rows(report.settings, report.results.trials) == {
        (f"episodic (ways={ways})", "lora", report.settings[0].backbone): 1 for ways in ("5", "20")
    }


def test_a_large_board_answers_for_all_its_rows() -> None:
    runs = [run(f"m{n}", 0.2 + n / 1000 + seed * n / 10_000, seed) for n in range(100) for seed in range(3)]
    (answer,) = answers(report_data.build_report(results(runs)))
    assert "m99" in answer.sentence
    assert " of 100 methods" in answer.sentence


def test_an_audit_that_failed_and_copies_are_warned_of() -> None:
    failed = CheckResult(check="test labels", verdict="failed", detail="the models differ")
    cell = AuditedCell(
        id="c", protocol="classification", method="a", backbone="b", dataset="d", shots="5", seed=0, method_source="",
        protocol_source="", checks=(failed,),
    )  # fmt: skip
    overlap = Overlap(
        test="digits: test", tests=100, against="digits: train", trained=900, exact=2, near=1, same_class=3,
        expected=0.01, measure="pixels", pairs=(),
    )  # fmt: skip
    audit = Audit(
        suite="made", finished=0.0, version="1", commit="c", device="cpu", planned=1, cells=(cell,), overlaps=(overlap,)
    )
    warnings = report_data.build_report(results([run("a", 0.5)]), audit).warnings
    assert any("leak checks failed on 1970-01-01" in warning for warning in warnings)
    assert "3 of 100 examples of digits: test have a copy in digits: train" in warnings


def test_the_box_says_how_a_protocol_was_run() -> None:
    runs = [run("a", 0.5, seed, **{"option.ways": "5"}, protocol="episodic") for seed in (0, 3)]
    report = report_data.build_report(results(runs))
    (box,) = protocol_boxes(report.cells)
    assert (box.name, box.options, box.seeds, box.time) == (
        "episodic", "ways 5", "2 (0, 3)", "4.0 s by the clock"
    )  # fmt: skip
    adapting = [run("a", 0.5, protocol="adaptation", **{"option.validator": "nuclear_norm"})]
    report = report_data.build_report(results(adapting))
    (box,) = protocol_boxes(report.cells)
    assert "by nuclear norm" in box.selected
    assert box.options == "–"


@pytest.mark.parametrize("label", ["lora(rank=8)", 'odd "name"', "it's; rm -rf /", "*"])
def test_the_command_of_a_row_selects_that_row_alone(label: str) -> None:
    found = results([run(label, 0.5), run("lora(rank=80)", 0.6)])
    one = next(each for each in reproductions([found], report_data.build_report(found).cells) if each.method == label)
    tlbench, verb, file, only, selector = shlex.split(one.command)
    assert (tlbench, verb, file, only) == ("tlbench", "run", "made.yaml", "--only")
    chosen = read_selector(selector)
    rows = found.done.assign(id=found.done["cell"])[list(CellFacts._fields)].itertuples(index=False)
    facts = [CellFacts(*row) for row in rows]
    assert [each.method_label for each in facts if chosen.matches(each)] == [label]


def test_of_joined_suites_each_has_its_own_command_and_runs() -> None:
    first = replace(results([run("a", 0.5), run("b", 0.5)], suite="one"), experiment="1")
    other = replace(results([run("a", 0.5), run("c", 0.5)], suite="two words"), experiment="2")
    report = report_data.build_report(join([first, other]), suites=[first, other])
    found = reproductions(report.suites, report.cells)
    assert [(each.suite, each.method) for each in found] == [
        ("one", "a"), ("one", "b"), ("two words", "a"), ("two words", "c")
    ]  # fmt: skip
    assert [shlex.split(each.command)[2] for each in found] == ["one.yaml"] * 2 + ["two words.yaml"] * 2
    assert ["/experiments/1/" in each.runs for each in found] == [True, True, False, False]
    page = html(report, list(build_sections(report))).text
    assert "tlbench run one.yaml\ntlbench run &#39;two words.yaml&#39;\n" in page
    assert "tlbench report one.yaml &#39;two words.yaml&#39;" in page
    assert "+two words.yaml" not in page


def test_why_there_are_no_differences_is_said_once() -> None:
    ways = [run(f"m{ways}", 0.5, protocol="episodic", **{"option.ways": str(ways)}) for ways in (5, 20)]
    (told,) = [each for each in report_data.build_report(results(ways)).warnings if "no differences" in each]
    assert told == "no differences are shown: the suite names no baseline"
    (other,) = [
        each
        for each in report_data.build_report(results([*ways, run("a", 0.5)], baseline="linear_probe")).warnings
        if "does not apply" in each
    ]
    assert other.startswith("no differences are shown for episodic (ways=20); episodic (ways=5): ")


def test_a_name_that_no_selector_can_say_runs_the_whole_suite() -> None:
    found = results([run("""both " and '""", 0.5)])
    (one,) = reproductions([found], report_data.build_report(found).cells)
    assert one.command == "tlbench run made.yaml"


def test_links_lead_to_the_runs_of_a_row() -> None:
    found = results([run("lora(rank=8)", 0.5)])
    (local,) = reproductions([found], report_data.build_report(found).cells)
    assert local.runs.startswith("http://127.0.0.1:5000/#/experiments/")
    asked = unquote(local.runs.partition("searchFilter=")[2])
    assert asked == 'params.method_label = "lora(rank=8)" and params.backbone_label = "resnet18/random"'
    far = report_data.Results(**{**vars(found), "place": "https://mlflow.example.org/", "experiment": "7"})
    (there,) = reproductions([far], report_data.build_report(found).cells)
    assert re.match(r"https://mlflow\.example\.org/#/experiments/7/runs\?", there.runs)


def test_a_suite_without_results_still_gathers() -> None:
    report = report_data.build_report(results([]))
    assert (report.boards, answers(report), report.stale) == ((), (), frozenset())
    assert isinstance(report.results.trials, pd.DataFrame)
