"""Where the cells of a row were not all computed alike, the report says so; what is unknown is not different."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from made_results import results, run

from tlbench.report import page
from tlbench.report.comparable_cells import comparable_cells
from tlbench.report.environments import Environment, Mixture, mixtures
from tlbench.report.report_data import Report, build_report
from tlbench.report.results import ENVIRONMENT

OLD, NEW = {"torch": "2.15.0", "device": "cpu"}, {"torch": "2.16.0", "device": "cuda"}


def runs(method: str, *environments: dict[str, str]) -> list[Any]:
    """Return one seed an environment."""
    return [
        run(method, 0.5 + seed / 100, seed, tags={f"tlbench.provenance.{name}": value for name, value in each.items()})
        for seed, each in enumerate(environments)
    ]


def of(method: str, report: Report) -> tuple[Mixture, ...]:
    (row,) = [row for board in report.boards for row in board.rows if row.method == method]
    return row.mixtures


@pytest.mark.parametrize("fact", Environment._fields)
def test_every_fact_is_looked_at(fact: str) -> None:
    one, other = ({fact: value} for value in ("a", "b"))
    (found,) = of("lora", build_report(results(runs("lora", one, other, other))))
    assert found == Mixture(fact, (("b", 2), ("a", 1)), 0)


def test_unknown_is_not_different() -> None:
    assert of("lora", build_report(results(runs("lora", OLD, {}, OLD)))) == ()
    (found,) = mixtures([Environment(torch="1"), Environment(), Environment(torch="2"), Environment(torch="2")])
    assert (found.name, found.values) == ("versions of torch", "2 (2 cells), 1 (1 cell), not recorded (1 cell)")


def test_a_row_of_its_own_environment_mixes_nothing() -> None:
    report = build_report(results([*runs("lora", OLD, OLD, OLD), *runs("probe", NEW, NEW, NEW)]))
    assert (of("lora", report), of("probe", report)) == ((), ())
    assert not any("mix" in warning for warning in report.warnings)


def test_snapshots_of_earlier_versions_know_nothing() -> None:
    done = results(runs("lora", OLD, NEW)).done
    cells, _ = comparable_cells(done.drop(columns=list(ENVIRONMENT)))
    assert {cell.environment for cell in cells} == {Environment()}
    cells, _ = comparable_cells(done)
    assert [cell.environment.device for cell in cells] == ["cpu", "cuda"]


def test_the_page_says_which_rows_mix_what(tmp_path: Path) -> None:
    report = build_report(results([*runs("lora", OLD, OLD, NEW), *runs("probe", OLD, OLD, OLD)]))
    assert "rows that mix versions of torch among their cells: 1 of 2, listed under provenance" in report.warnings
    assert "rows that mix device types among their cells: 1 of 2, listed under provenance" in report.warnings
    paths = page.save(report, tmp_path)
    text = paths.index.read_text()
    sections = {name: text[text.index(f'<section id="{name}"') :] for name in ("leaderboard", "datasets", "provenance")}
    leaderboard = sections["leaderboard"][: -len(sections["datasets"])]
    assert leaderboard.count("mixes versions of torch: 2.15.0 (2 cells), 2.16.0 (1 cell)") == 1
    assert leaderboard.count("mixes device types: cpu (2 cells), cuda (1 cell)") == 1
    assert "Rows that mix environments" in sections["provenance"]
    with (paths.folder / "mixed_environments.csv").open() as lines:
        found = [(row["method"], row["fact"], row["value"], row["cells"]) for row in csv.DictReader(lines)]
    assert ("lora", "torch", "2.15.0", "2") in found
    assert ("lora", "device", "cuda", "1") in found
    assert {method for method, *_ in found} == {"lora"}
    assert "mixes device types" in (paths.folder / "leaderboard.md").read_text()
