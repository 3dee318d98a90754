"""The first suite for a user's data: what is found out about them, what fits into a time, and that the suite is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow.parquet import write_table

from tlbench.backbones.catalog import describe
from tlbench.core.errors import UserError
from tlbench.data import catalog
from tlbench.planning.first_suite import networks
from tlbench.planning.first_suite.choices import BATCH, LEAST_STEPS, SEEDS, Choices, choose, preferred
from tlbench.planning.first_suite.data_facts import DataFacts, look
from tlbench.planning.first_suite.networks import Network, find_network
from tlbench.planning.first_suite.suite_text import facts_lines, suite_text
from tlbench.planning.prepare import prepare
from tlbench.store.artifacts import Artifacts


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Photographs of noise in two classes of 40 and 10, one of the tested among those to train on."""
    generator = np.random.default_rng(0)
    for name, count in (("owl", 40), ("wren", 10)):
        for number in range(count):
            split = "test" if number % 5 == 0 else "train"
            file = tmp_path / "birds" / split / name / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(file)
    copied = (tmp_path / "birds" / "train" / "owl" / "01.png").read_bytes()
    (tmp_path / "birds" / "test" / "owl" / "00.png").write_bytes(copied)
    return tmp_path / "birds"


def facts(path: Path, tmp_path: Path, **columns: str) -> DataFacts:
    return look(path, Artifacts(tmp_path / "artifacts"), columns)


def network(seconds: float = 0.01, modality: str = "image") -> Network:
    info = describe("conv4", {}, {"kind": "random"})
    info = replace(info, made_for=224 if modality == "image" else 0, modality=modality)  # type: ignore[arg-type]
    return Network({"name": "conv4"}, info, seconds, ())


def test_what_is_said_of_images(birds: Path, tmp_path: Path) -> None:
    said = list(facts_lines(facts(birds, tmp_path)))
    assert said == [
        "2 classes of images: 40 to train on, 10 to test on",
        "classes are of different size: 32 training examples of 'owl', 8 of 'wren'",
        "images are 12x16 pixels, in colour",
        "1 test examples are also among those to train on, which flatters every method",
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_tables_of_texts_are_one_dataset_whatever_their_format(suffix: str, tmp_path: Path) -> None:
    rows = [{"review": f"so many words as {number}", "stars": number % 2} for number in range(20)]
    file = tmp_path / f"films{suffix}"
    if suffix == ".csv":
        file.write_text("Review,Sentiment\n" + "".join(f"{row['review']},{row['stars']}\n" for row in rows))
    elif suffix == ".jsonl":
        file.write_text("".join(f'{{"review": "{row["review"]}", "stars": "{row["stars"]}"}}\n' for row in rows))
    else:
        write_table(pa.Table.from_pylist(rows), file)
    columns = {} if suffix == ".csv" else {"text_column": "review", "label_column": "stars"}
    found = facts(file, tmp_path, **columns)
    assert (found.info.classes, found.words, found.examples("train")) == (("0", "1"), 5, 16)
    again = catalog.open_dataset("texts", found.params, Artifacts(tmp_path / "artifacts"))
    assert sorted(again.x) == sorted(row["review"] for row in rows)


@pytest.mark.parametrize(
    ("name", "columns", "said"),
    [
        ("bird", {}, "there is no such folder or file\n  did you mean 'birds'?"),
        ("notes.doc", {}, "no kind of data that is read\n  a folder, a .zip, or one of .csv"),
        ("birds", {"text_column": "x"}, "images have no columns\n  leave --text-column"),
        ("odd.csv", {}, "odd.csv:1: there is no column 'text'"),
        ("torn.parquet", {}, "is no Parquet file that can be read"),
    ],
)
def test_what_cannot_be_read_is_said(
    name: str, columns: dict[str, str], said: str, birds: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.doc").write_text("x")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError) as caught:
        facts(tmp_path / name, tmp_path, **columns)
    assert said in str(caught.value)


def test_rare_labels_are_for_methods_that_begin_at_the_probe(birds: Path, tmp_path: Path) -> None:
    found = facts(birds, tmp_path)
    assert preferred(found, network())[0] == "finetune"
    rare = replace(found, info=replace(found.info, counts={"train": (32, 3), "test": (8, 2)}))
    assert preferred(rare, network())[0] == "lp_ft"
    assert "finetune" not in preferred(rare, network(modality="text"))


@pytest.mark.parametrize("minutes", [2, 10, 60, 600])
@pytest.mark.parametrize("count", [30, 500, 5000])
@pytest.mark.parametrize("seconds", [0.0005, 0.02, 0.5])
def test_what_is_planned_fits_and_is_enough(
    minutes: float, count: int, seconds: float, birds: Path, tmp_path: Path
) -> None:
    found = facts(birds, tmp_path)
    counts = {"train": (count, count), "test": (count // 5, count // 5)}
    found = replace(found, info=replace(found.info, counts=counts))
    plan = choose(found, network(seconds), minutes, 2)
    if not plan.trained:
        assert seconds == 0.5 or minutes == 2
        return
    assert plan.seconds <= 60 * minutes * 2
    used = 2 * (count if plan.per_class is None else min(count, plan.per_class[0]))
    steps = -(-used // BATCH)
    assert (plan.epochs or 40) * steps >= min(LEAST_STEPS, 40 * steps)
    assert set(plan.trained).isdisjoint(plan.left_out)
    more = choose(found, network(seconds), 2 * minutes, 2)
    assert len(more.trained) >= len(plan.trained) or more.side != plan.side or more.per_class != plan.per_class


def test_the_suite_is_one_and_says_why(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found, file = facts(birds, tmp_path), tmp_path / "suites" / "birds.yaml"
    file.parent.mkdir()
    choices = Choices(64, ("finetune", "lp_ft"), 8, ("lora",), (4, 2), 60.0)
    given = replace(network(), refused=("timm:x: cannot be had",))
    file.write_text(suite_text(file, found, given, choices, 10))
    assert 'path: "../birds"' in file.read_text()
    cells = prepare(file, Artifacts(tmp_path / "artifacts")).plan.cells
    assert {cell.protocol.options["metric"] for cell in cells} == {"balanced_accuracy"}, "owls are four times as many"
    even = replace(found, info=replace(found.info, counts={"train": (20, 20), "test": (5, 5)}))
    assert "metric" not in suite_text(file, even, given, choices, 10)
    assert {cell.method.label for cell in cells} == {
        "linear_probe",
        "knn",
        "finetune(epochs=8)",
        "lp_ft(epochs=8)",
    }
    assert len(cells) == 4 * SEEDS
    assert {cell.dataset.info.counts["train"] for cell in cells} == {(4, 4)}
    for why in ("no time for: lora", "timm:x: cannot be had", "at 64 pixels", "a fixed sample", "flatters"):
        assert f"# {why}" in file.read_text() or why in file.read_text()


def test_the_first_network_that_can_be_had_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "CANDIDATES", {"image": (("timm:nothing_such", "timm"), ("resnet99", "torchvision"))})
    with pytest.raises(UserError, match=r"no network with published weights can be had: .*nothing_such.*resnet99"):
        find_network("image", 0)


def test_a_forward_pass_is_measured() -> None:
    info = describe("conv4", {"width": 8}, {"kind": "random"})
    assert 0 < networks._measure(info, 0) < 1
