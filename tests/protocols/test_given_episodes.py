"""Episodes as a file gives them: scored as they are, by every method, and refused with the line of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_process import done, new_cache
from PIL import Image
from small_suites import planned, suite

from tlbench.audit.leak_checks import check_cell
from tlbench.core.cell import Cell
from tlbench.core.class_splits import deal_classes
from tlbench.core.errors import UserError
from tlbench.core.info import TaskInfo
from tlbench.core.record import unpack_bits
from tlbench.data.catalog import open_dataset
from tlbench.data.episode_file import GivenEpisode, read_episodes
from tlbench.data.given_episodes import given_episodes, resolve_episodes
from tlbench.plugins import registry
from tlbench.protocols import episodic
from tlbench.store.artifacts import Artifacts
from tlbench.testing.fakes import fake_backbone, fake_context, fake_dataset
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

TINY = {"name": "conv4", "width": 4, "image_size": 16}
EPISODIC = [name for name in registry.names("methods") if "episodic" in registry.declaration("methods", name).protocols]
HEADER = "episode,role,example,class\n"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Characters to train on, and two runs as they are published: a folder of training and one of test images each."""
    rng = np.random.default_rng(0)
    for group, folder in [("greek", f"c{n}") for n in range(4)] + [(f"run{n}", "training") for n in (1, 2)]:
        for number in range(5):
            _write(tmp_path / "lake" / group / folder / f"{number}.png", rng)
    for run in (1, 2):
        for number in range(6):
            _write(tmp_path / "lake" / f"run{run}" / "test" / f"item{number}.png", rng)
    return tmp_path


def _write(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(path)


def one_shot(run: int, ways: int, items: int) -> str:
    """A run with one image a class; item n is of class n modulo the ways."""
    support = [f"run{run},support,run{run}/training/{n}.png,{run}-{n}" for n in range(ways)]
    query = [f"run{run},query,run{run}/test/item{n}.png,{run}-{n % ways}" for n in range(items)]
    return "\n".join([*support, *query]) + "\n"


TWO_SHOTS = (
    "third,support,run1/training/0.png,a\nthird,query,run2/test/item0.png,b\nthird,support,run1/training/1.png,a\n"
    "third,support,run2/training/4.png,b\nthird,query,run2/test/item3.png,a\n"
)


def cells(folder: Path, text: str, name: str = "runs.csv", **more: Any) -> list[Cell]:
    (folder / name).write_text(text)
    data = {"name": "folder", "path": "lake", "layout": "groups", "test_groups": ["run1", "run2"]}
    grid = {
        "protocol": "episodic",
        "methods": [{"name": "nearest_centroid", "params": {"transform": "none"}}],
        "backbones": [TINY],
        "datasets": [data],
        "episodes": {"file": name},
        "seeds": 1,
        **more,
    }
    content = suite("given", grid)
    if "shots" not in more:
        del content["grids"][0]["shots"]
    return planned(content, folder, folder / "artifacts")


def refusal(folder: Path, text: str, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        cells(folder, text, **more)
    return str(caught.value)


def by_hand(cell: Cell, folder: Path, text: str, cache: WorkerCache) -> list[list[bool]]:
    """Whether each query is nearest to the mean of its own class, by the file's own words."""
    dataset = cache.read(cell.dataset, cell.backbone)
    z = cache.features(cell.backbone, cell.seed, dataset).take(np.arange(len(dataset.y))).double().numpy()
    row = {str(path.relative_to(folder / "lake")): n for n, path in enumerate(sorted((folder / "lake").rglob("*.png")))}
    lines = [line.split(",") for line in text.removeprefix(HEADER).splitlines()]
    right = []
    for episode in dict.fromkeys(line[0] for line in lines):
        own = [line for line in lines if line[0] == episode]
        means = {
            label: np.mean([z[row[e]] for _, role, e, c in own if role == "support" and c == label], axis=0)
            for label in {line[3] for line in own}
        }
        nearest = [
            (min(means, key=lambda label: np.square(z[row[e]] - means[label]).sum()), c)
            for _, role, e, c in own
            if role == "query"
        ]
        right.append([found == truth for found, truth in nearest])
    return right


def test_runs_as_they_are_published_are_scored_to_each_nearest_mean(runs: Path) -> None:
    text = HEADER + one_shot(1, 5, 5) + one_shot(2, 5, 5)
    (cell,) = cells(runs, text)
    assert (cell.shots, cell.protocol.options["ways"], cell.protocol.options["queries"]) == (1, 5, 1)
    cache = new_cache(runs / "artifacts")
    outcome = done(cell, cache).outcome
    assert outcome is not None
    right = by_hand(cell, runs, text, cache)
    assert (outcome.tests, outcome.group) == (10, 5)
    assert [sum(part) for part in right] == _right(outcome.correct, [5, 5])
    means = np.array([np.mean(part) for part in right])
    assert outcome.scores["accuracy"] == pytest.approx(means.mean())
    assert outcome.scores["accuracy_ci95"] == pytest.approx(1.96 * means.std(ddof=1) / 2**0.5)
    assert "2 episodes as a file gives them" in outcome.notes


def test_ways_shots_and_queries_may_differ_between_episodes(runs: Path) -> None:
    text = HEADER + one_shot(1, 4, 6) + TWO_SHOTS + one_shot(2, 4, 6)  # the shape of the first comes once more
    (cell,) = cells(runs, text)
    cache = new_cache(runs / "artifacts")
    outcome = done(cell, cache).outcome
    assert outcome is not None
    right = by_hand(cell, runs, text, cache)
    assert [len(part) for part in right] == [6, 2, 6]
    assert [sum(part) for part in right] == _right(outcome.correct, [6, 2, 6])
    assert outcome.group == 1, "episodes of several sizes are no groups of one size"
    assert np.isfinite(outcome.scores["nll"])
    assert "3 episodes as a file gives them, of 2 to 4 ways and 1 to 2 shots" in outcome.notes


def test_the_content_of_the_file_names_the_cell_and_its_place_does_not(runs: Path) -> None:
    text = HEADER + one_shot(1, 5, 5)
    (first,) = cells(runs, text)
    (renamed,) = cells(runs, text, "other.csv")
    (other,) = cells(runs, HEADER + one_shot(1, 5, 6))
    assert first.id == renamed.id != other.id
    assert str(runs) not in json.dumps(first.describe().model_dump(mode="json"))
    assert first.describe().options["episodes"] == {"sha256": first.protocol.options["episodes"]["sha256"]}
    pinned = {"file": "runs.csv", "sha256": first.protocol.options["episodes"]["sha256"]}
    assert cells(runs, text, episodes=pinned)[0].id == first.id
    assert "its hash is" in refusal(runs, HEADER + one_shot(1, 5, 6), episodes=pinned)


def test_a_file_that_changes_after_planning_is_refused(runs: Path) -> None:
    (cell,) = cells(runs, HEADER + one_shot(1, 5, 5))
    (runs / "runs.csv").write_text(HEADER + one_shot(1, 5, 6))
    (runs / "artifacts" / "episodes").rename(runs / "artifacts" / "kept")
    record = run_cell(cell, new_cache(runs / "artifacts"))
    assert record.error is not None
    assert "is not the content this run was planned with" in record.error["message"]


def test_an_audit_of_given_episodes_finds_no_leak(runs: Path) -> None:
    (cell,) = cells(runs, HEADER + one_shot(1, 4, 6) + one_shot(2, 5, 5))
    checks = check_cell(cell, new_cache(runs / "artifacts")).checks
    assert not [(each.check, each.detail) for each in checks if each.verdict in ("leak", "failed")]
    assert any(each.verdict == "passed" for each in checks)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("episode,role,example\n", "runs.csv:1: there is no column 'class'"),
        (HEADER, "there are no episodes"),
        (HEADER + "1,suport,run1/training/0.png,a\n", "runs.csv:2: unknown role 'suport'\n  did you mean 'support'?"),
        (HEADER + "1,support,run1/training/0.png\n", "runs.csv:2: 3 fields where the header has 4"),
        (HEADER + "1,support,run1/training/0.png, \n", "runs.csv:2: class is empty"),
        (HEADER + "1,support,run1/training/0.png,a\n", "runs.csv:2: episode '1' has 1 classes with support"),
        (HEADER + one_shot(1, 5, 0), "runs.csv:2: episode 'run1' has no query"),
        (HEADER + one_shot(1, 5, 1) + "run1,query,run1/test/item1.png,1-9\n", "runs.csv:8: class '1-9' has no support"),
        (HEADER + one_shot(1, 5, 1) + "run1,query,run1/training/1.png,1-0\n", "in episode 'run1' already, on line 3"),
        (
            HEADER + one_shot(1, 5, 1) + "run1,query,run1/test/iten1.png,1-0\n",
            "runs.csv:8: folder(lake,layout=groups,test_groups=[\"run1\",\"run2\"]) has no example "
            "'run1/test/iten1.png'\n  did you mean 'run1/test/item1.png'?",
        ),
        (HEADER + one_shot(1, 5, 1) + "run1,query,greek/c0/1.png,1-0\n", "runs.csv:8: 'greek/c0/1.png' is of a class"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(runs: Path, text: str, told: str) -> None:
    assert told in refusal(runs, text)


def test_what_a_suite_says_beside_the_file_is_told_with_its_line(runs: Path) -> None:
    text = HEADER + one_shot(1, 5, 5)
    assert "did you mean 'runs.csv'?" in refusal(runs, text, episodes={"file": "rums.csv"})
    assert "ways: the file of episodes says it" in refusal(runs, text, ways=5)
    assert "give shots: [1]" in refusal(runs, text, shots=[1, 5])
    assert "'file' is missing" in refusal(runs, text, episodes={})
    assert "unknown key 'fil'" in refusal(runs, text, episodes={"fil": "runs.csv"})
    assert cells(runs, text, shots=[1])[0].id == cells(runs, text)[0].id


def test_texts_are_named_by_themselves_and_other_examples_by_number(tmp_path: Path) -> None:
    lines = [f"{word} number {n},{word}" for word in ("ape", "bee", "cat", "dog", "elk", "fox") for n in range(4)]
    (tmp_path / "animals.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    artifacts = Artifacts(tmp_path / "artifacts")
    texts = {"path": str(tmp_path / "animals.csv")}
    digits = open_dataset("digits", {}, artifacts)
    for name, params, dataset in (("texts", texts, open_dataset("texts", texts, artifacts)), ("digits", {}, digits)):
        dealt = deal_classes(dataset.info)
        rows = dataset.rows_of_classes(dealt["test"][:1])[:3]
        names = [str(dataset.x[row]) if name == "texts" else str(row) for row in rows]
        lines = [f"1,support,{names[0]},x", f"1,support,{names[1]},y", f"1,query,{names[2]},y"]
        (tmp_path / "episodes.csv").write_text(HEADER + "\n".join(lines))
        table = read_episodes(tmp_path / "episodes.csv")
        resolve_episodes(table, name, params, artifacts)
        (found,) = given_episodes("", table.sha256, name, params, dataset.info.fingerprint, artifacts)
        assert [part.tolist() for part in found] == [rows[:2].tolist(), [0, 1], rows[2:].tolist(), [1]]
        trained = dataset.rows_of_classes(dealt["train"][:1])[0]
        lines[1] = f"1,support,{dataset.x[trained] if name == 'texts' else trained},y"
        (tmp_path / "episodes.csv").write_text(HEADER + "\n".join(lines))
        with pytest.raises(UserError, match=r"episodes.csv:3: .* is of a class"):
            resolve_episodes(read_episodes(tmp_path / "episodes.csv"), name, params, artifacts)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.slow) if name == "finetune" else name for name in EPISODIC]
)
def test_every_method_solves_given_episodes_of_several_shapes(method: str, tmp_path: Path) -> None:
    dataset = fake_dataset(classes=20, each=20)
    first = dataset.info.class_splits["test"][0] * 20
    rows = {way: first + 20 * way + np.arange(20) for way in range(4)}
    given = tuple(
        GivenEpisode(
            np.concatenate([rows[w][: shots + (w == 0)] for w in range(ways)]),
            np.concatenate([np.full(shots + (w == 0), w) for w in range(ways)]),
            np.concatenate([rows[w][10 : 10 + 4 * episode] for w in range(ways)]),
            np.repeat(np.arange(ways), 4 * episode),
        )
        for episode, (ways, shots) in enumerate([(4, 5), (2, 8), (4, 5)], 1)
        for _ in range(4)
    )
    options = {"ways": 4, "queries": 4, "episodes": {"sha256": "0"}}
    info = TaskInfo("episodic", dataset.info, 5, 4, options)
    declared = registry.declaration("methods", method)
    module, backbone = declared.load(), fake_backbone()
    ctx = fake_context(tmp_path, dataset, fake_backbone(), episodes=given)
    cfg = module.Config(**declared.constants.QUICK)
    torch.manual_seed(0)
    outcome = episodic.run(info, dataset, 0, lambda task: module.fit(task, backbone, cfg, ctx), ctx)
    assert outcome is not None
    assert outcome.tests == sum(len(each.query) for each in given)
    assert outcome.scores["accuracy"] > 0.4, "chance is 0.25 for most"


def _right(correct: str, sizes: list[int]) -> list[int]:
    """The number of right answers of each episode."""
    packed = np.frombuffer(unpack_bits(correct, sum(sizes)), np.uint8)
    bits = np.unpackbits(packed, count=sum(sizes))
    return [int(part.sum()) for part in np.split(bits, np.cumsum(sizes)[:-1])]
