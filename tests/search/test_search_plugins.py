"""Samplers and search schedulers are files: each keeps its contract, and one from outside needs no edit here."""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler
from searched_suites import prepared
from small_suites import suite

from tlbench.core.errors import UserError
from tlbench.core.segments import WHOLE
from tlbench.planning.prepare import prepare
from tlbench.plugins.discovery import find
from tlbench.search.sampler import sampler, sampler_names
from tlbench.search.scheduler import scheduler, scheduler_names
from tlbench.store.artifacts import Artifacts
from tlbench.testing.search_contract import check_population, check_sampler, check_scheduler


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize("name", sampler_names())
def test_every_sampler_keeps_the_contract(name: str, tmp_path: Path, artifacts: Path) -> None:
    problem, *_ = prepared(tmp_path, artifacts, searcher=name, trials=8).searches.problems.values()
    check_sampler(name, problem)


@pytest.mark.parametrize("name", scheduler_names())
def test_every_scheduler_keeps_the_contract(name: str, tmp_path: Path, artifacts: Path) -> None:
    check_scheduler(name)
    if scheduler(name).population is not None:
        problem, *_ = prepared(tmp_path, artifacts, scheduler=name, trials=8).searches.problems.values()
        check_population(name, problem)


def test_the_schedulers_and_samplers_that_ship() -> None:
    assert scheduler_names() == ("asha", "median", "none", "pbt")
    assert sampler_names() == ("grid", "optuna", "random")
    assert [scheduler(name).checkpoints for name in scheduler_names()] == [(1, 3), tuple(range(1, 9)), (), ()]
    assert [sampler(name).learns for name in sampler_names()] == [False, True, False]


@dataclass(frozen=True)
class _Trial:
    number: int

    @property
    def trial_id(self) -> str:
        return str(self.number)


@pytest.mark.parametrize("name", ["asha", "median"])
@pytest.mark.parametrize("seed", range(25))
def test_stopping_rules_decide_as_those_of_tune(name: str, seed: int) -> None:
    shared: dict[str, Any] = {"time_attr": "share", "metric": "value", "mode": "max", "grace_period": 1}
    theirs: Any = (
        ASHAScheduler(max_t=WHOLE, reduction_factor=3, **shared)
        if name == "asha"
        else MedianStoppingRule(min_samples_required=3, min_time_slice=math.inf, **shared)
    )
    make = scheduler(name).stopping_rule
    assert make is not None
    ours, generator = make(), Random(seed)
    running: dict[Any, list[int]] = {}
    decisions = []
    for number in range(30):
        trial = _Trial(number)
        theirs.on_trial_add(None, trial)
        running[trial] = list(scheduler(name).checkpoints)
        while len(running) > 4 or (number == 29 and running):
            some = generator.choice(sorted(running, key=lambda each: each.number))
            value = round(generator.random(), 2)
            if not running[some]:
                theirs.on_trial_complete(None, some, {"share": WHOLE, "value": value})
                ours.complete(some.number, value)
                del running[some]
                continue
            ninth = running[some].pop(0)
            expected = theirs.on_trial_result(None, some, {"share": ninth, "value": value}) == TrialScheduler.STOP
            decisions.append(expected)
            assert ours.observe(some.number, ninth, value) == expected
            if expected:
                del running[some]
    assert any(decisions)
    assert not all(decisions)


SAMPLER = """
    \"\"\"The corners of the space, by turns.\"\"\"
    def configurations(problem):
        for low in (True, False):
            yield {d.name: (d.values[0 if low else -1] if d.values else d.space["low" if low else "high"])
                   for d in problem.space.dimensions if problem.space.active(d, {})}
"""
SCHEDULER = """
    \"\"\"A trial stops at two ninths below a fixed value.\"\"\"
    CHECKPOINTS = (2,)
    class Rule:
        def observe(self, number, ninth, value):
            return number > 1 and value < 0.9
        def complete(self, number, value):
            pass
    def stopping_rule():
        return Rule()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Install a distribution with a sampler ``corners`` and a scheduler ``threshold``, as pip would; text by module."""
    folder = tmp_path / "installed"

    def put(**modules: str) -> Path:
        (folder / "outside_search").mkdir(parents=True)
        (folder / "outside_search" / "__init__.py").write_text("")
        for name, text in modules.items():
            (folder / "outside_search" / f"{name}.py").write_text(textwrap.dedent(text))
        about = folder / "outside_search-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside_search\nVersion: 1\n")
        points = "[tlbench.samplers]\ncorners = outside_search.corners\n"
        points += "[tlbench.search_schedulers]\nthreshold = outside_search.threshold\n"
        (about / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(folder)
        find.cache_clear()
        return folder

    yield put
    monkeypatch.undo()
    find.cache_clear()
    for name in [name for name in sys.modules if name.startswith("outside_search")]:
        del sys.modules[name]


def test_a_sampler_and_a_scheduler_from_outside_run_a_search(
    install: Any, tlbench: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = install(corners=SAMPLER, threshold=SCHEDULER)
    assert {"corners", "threshold"} <= {*sampler_names(), *scheduler_names()}
    check_scheduler("threshold")
    grid = {"methods": [{"name": "finetune", "params": {"epochs": 9}}, "linear_probe"], "seeds": 1}
    search = {"trials": 3, "searcher": "corners", "scheduler": "threshold"}
    path = tmp_path / "outside.yaml"
    path.write_text(json.dumps(suite("outside", grid, search=search)))
    inherited = environment.get("PYTHONPATH", "")
    env = {"PYTHONPATH": f"{folder}:{inherited}".rstrip(":")}
    schema = json.loads(tlbench("schema", env=env).stdout)
    assert "threshold" in json.dumps(schema)
    done = tlbench("tune", str(path), "--json", env=env)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["trials"], row["failed"]) == (3, 0), (row, done.stderr)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CHECKPOINTS = (3, 1)\ndef stopping_rule(): ...\n", "ascending tuple of ninths"),
        ("CHECKPOINTS = (1,)\n", "belong together"),
        ("def stopping_rule(): ...\n", "belong together"),
        ("CHECKPOINTS = (1,)\ndef stopping_rule(): ...\ndef population(p, f, r): ...\n", "not both"),
    ],
)
def test_a_scheduler_that_is_half_defined_is_refused(install: Any, text: str, message: str) -> None:
    install(corners=SAMPLER, threshold=text)
    with pytest.raises(UserError, match=message) as error:
        scheduler("threshold")
    assert "threshold.py" in str(error.value)


def test_a_sampler_that_defines_nothing_is_refused_with_its_file(install: Any) -> None:
    install(corners="", threshold=SCHEDULER)
    with pytest.raises(UserError, match=r"corners\.py: a sampler defines .*; corners defines neither"):
        sampler("corners")


def test_an_unknown_name_in_a_suite_names_line_and_nearest(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ngrids: [{protocol: classification, methods: [finetune], backbones: [conv4], datasets: [digits]}]\n"
        "search: {searcher: optna}\n"
    )
    with pytest.raises(UserError, match=r"s\.yaml:3: searcher: must be 'grid', .* not 'optna'") as error:
        prepare(path, Artifacts(tmp_path))
    assert "did you mean 'optuna'?" in str(error.value)
