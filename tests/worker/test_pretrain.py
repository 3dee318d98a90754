"""Pre-trained weights are built once, from nothing but training examples, and a run that was killed continues."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_process import Stop, done, new_cache, observe_epochs, stop_at
from safetensors.torch import load_file
from small_suites import CORPUS, PLAIN, PRETRAINED, planned, suite

from tlbench.core.cell import Cell
from tlbench.core.description import Execution
from tlbench.data.dataset import TEST, TRAIN, Split
from tlbench.plugins import registry
from tlbench.store.artifacts import Artifacts
from tlbench.store.mlflow.schema import params
from tlbench.store.mlflow.stored_experiment import StoredRun
from tlbench.testing.fakes import fake_dataset
from tlbench.worker import pretrain as pretraining
from tlbench.worker.artifact_jobs import PRETRAINED as KIND
from tlbench.worker.artifact_jobs import ArtifactName
from tlbench.worker.artifact_transfer import read_cost_file, read_weights_file, store_weights_file, weights_file
from tlbench.worker.pretrain import corpus, pretrained_weights
from tlbench.worker.shared_costs import shared_costs


def pretrained_cell(folder: Path, decoded: Path, backbone: dict[str, Any] = PRETRAINED) -> Cell:
    grid = {"methods": ["nearest_centroid"], "backbones": [backbone], "seeds": 1}
    (cell,) = planned(suite("pretrained", grid), folder, decoded)
    return cell


@pytest.fixture
def own(tmp_path: Path, decoded: Path) -> Path:
    """An artifact folder with the decoded data and nothing else."""
    new_cache(decoded).dataset(pretrained_cell(tmp_path, decoded).dataset)
    shutil.copytree(decoded / "datasets", tmp_path / "own" / "datasets")
    return tmp_path / "own"


def test_the_corpus_holds_training_examples_of_training_classes_alone() -> None:
    dataset = fake_dataset()
    seen = corpus(dataset, labelled=True)
    assert (dataset.part[seen.rows] == TRAIN).all()
    assert set(dataset.y[seen.rows]) == set(dataset.info.class_splits["train"])
    assert set(seen.labels) == set(range(len(dataset.info.class_splits["train"])))
    assert len(seen) == 6 * 10
    hidden = np.flatnonzero((dataset.part == TEST) | (dataset.y >= 6))
    assert not set(hidden) & set(seen.rows)
    unlabelled = corpus(dataset, labelled=False)
    assert unlabelled.y is None
    assert (unlabelled.rows == seen.rows).all()


@pytest.mark.parametrize(("method", "reads"), [("supervised", True), ("simclr", False)])
def test_what_reads_no_labels_is_given_none(
    own: Path, tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch, method: str, reads: bool
) -> None:
    recipe = {**PLAIN, "pretrain": {"method": method, "dataset": CORPUS, "params": {"epochs": 1}}}
    choice = pretrained_cell(tmp_path, decoded, recipe).backbone
    module = registry.declaration("methods", method).load()
    given: list[Split] = []
    monkeypatch.setattr(module, "pretrain", lambda corpus, *rest: given.append(corpus))
    assert choice.pretrain is not None
    pretrained_weights(choice.pretrain, choice.artifact, new_cache(own))
    assert [split.y is not None for split in given] == [reads]


def test_a_stopped_pre_training_continues_and_ends_with_the_same_bytes(
    own: Path, tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {**PLAIN, "pretrain": {"method": "supervised", "dataset": CORPUS, "params": {"epochs": 5}}}
    choice = pretrained_cell(tmp_path, decoded, recipe).backbone
    assert choice.pretrain is not None
    straight = pretrained_weights(choice.pretrain, choice.artifact, new_cache(own))
    expected, curves = straight.read_bytes(), json.loads((straight.parent / "training.json").read_text())["curves"]
    assert len(curves["train_loss"]) == 5
    shutil.rmtree(straight.parent)

    observe_epochs(monkeypatch, pretraining, stop_at(3))
    with pytest.raises(Stop):
        pretrained_weights(choice.pretrain, choice.artifact, new_cache(own))
    assert not straight.parent.exists()

    epochs: list[int] = []
    observe_epochs(monkeypatch, pretraining, lambda done, total: epochs.append(done))
    resumed = pretrained_weights(choice.pretrain, choice.artifact, new_cache(own))
    assert epochs == [3, 4, 5]
    assert resumed.read_bytes() == expected
    assert json.loads((resumed.parent / "training.json").read_text())["curves"] == curves
    assert list((own / "running").iterdir()) == [], "nothing is left behind"


def test_weights_are_named_by_their_recipe_and_a_raised_version_is_another(tmp_path: Path, decoded: Path) -> None:
    choice = pretrained_cell(tmp_path, decoded).backbone
    assert choice.artifact == choice.key
    assert choice.pretrain is not None
    raised = replace(choice.pretrain, method=replace(choice.pretrain.method, version=2))
    assert raised.recipe != choice.pretrain.recipe


def test_another_precision_makes_other_weights(tmp_path: Path, decoded: Path) -> None:
    choice = pretrained_cell(tmp_path, decoded).backbone
    other = replace(choice, execution=Execution("bfloat16"))
    assert (other.key, other.artifact != choice.artifact) == (choice.key, True)
    plain = replace(choice, pretrain=None, execution=Execution("bfloat16"))
    assert plain.artifact == choice.key, "published weights are the same in any precision"


def test_a_chain_trains_each_run_once_from_the_weights_before_it(own: Path, tmp_path: Path, decoded: Path) -> None:
    run = {**PRETRAINED["pretrain"], "params": {"epochs": 1, "lr": 1e-9, "weight_decay": 0.0}}
    chained = {**PRETRAINED, "pretrain": {**run, "after": PRETRAINED["pretrain"]}}
    choice = pretrained_cell(tmp_path, decoded, chained).backbone
    assert [each.method.params["epochs"] for each in choice.runs] == [2, 1]
    cache = new_cache(own)
    start = dict(cache.backbone(choice.runs[1].start, 0).body.named_parameters())
    end = dict(cache.backbone(choice, 0).body.named_parameters())
    assert len(list((own / KIND).glob("*/weights.safetensors"))) == 2
    fresh = dict(cache.backbone(choice.runs[0].start, 0).body.named_parameters())
    for name, value in end.items():
        torch.testing.assert_close(value, start[name], rtol=0, atol=1e-6)
    assert any(not torch.allclose(value, fresh[name], atol=1e-3) for name, value in end.items())


@pytest.mark.parametrize(("seeds", "runs"), [(1, 1), (2, 2)])
def test_cells_of_two_runs_read_other_features_and_those_of_one_the_same(
    seeds: int, runs: int, own: Path, tmp_path: Path, decoded: Path
) -> None:
    grid = {"methods": ["nearest_centroid"], "backbones": [PRETRAINED], "seeds": 2, "pretrain_seeds": seeds}
    cells, cache = planned(suite("pretrained", grid), tmp_path, decoded), new_cache(own)
    data = cache.dataset(cells[0].dataset)
    one, two = (cache.features(cell.backbone, cell.seed, data).take(np.arange(20)) for cell in cells)
    assert torch.equal(one, two) == (runs == 1)
    assert len(list((own / KIND).glob("*/weights.safetensors"))) == runs
    records = [done(cell, cache) for cell in cells]
    assert [record.cell.recipe["weights"]["seed"] for record in records] == [0, runs - 1]
    assert len({StoredRun("r", "FINISHED", 0.0, params(record)).pretrain_run for record in records}) == runs
    assert {cell.backbone.artifact for cell in cells} == {
        StoredRun("r", "FINISHED", 0.0, params(record)).pretrain_run for record in records
    }


def test_every_part_of_a_recipe_changes_the_randomness_of_pre_training(tmp_path: Path, decoded: Path) -> None:
    recipes = set()
    for width, change in (
        (8, {}),
        (4, {}),
        (8, {"seed": 1}),
        (8, {"params": {"epochs": 3}}),
        (8, {"dataset": {**CORPUS, "images": 500}}),
    ):
        backbone = {**PRETRAINED, "width": width, "pretrain": {**PRETRAINED["pretrain"], **change}}
        run = pretrained_cell(tmp_path, decoded, backbone).backbone.pretrain
        assert run is not None
        recipes.add(run.recipe)
    assert len(recipes) == 5


def test_weights_carried_over_are_used_as_they_are(own: Path, tmp_path: Path, decoded: Path) -> None:
    choice = pretrained_cell(tmp_path, decoded).backbone
    made = new_cache(own)
    weights = made.backbone(choice, 0).body.state_dict()
    name = ArtifactName(KIND, choice.artifact)
    content = read_weights_file(made.artifacts, name)

    elsewhere = new_cache(tmp_path / "elsewhere")
    store_weights_file(elsewhere.artifacts, name, content)
    store_weights_file(elsewhere.artifacts, name, b"a second copy that comes too late")
    found = elsewhere.backbone(choice, 0).body.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in weights.items())
    assert sorted(path.name for path in weights_file(elsewhere.artifacts, name).parent.iterdir()) == [
        "weights.safetensors"
    ]


def test_what_a_training_took_travels_with_its_weights(own: Path, tmp_path: Path, decoded: Path) -> None:
    cell = pretrained_cell(tmp_path, decoded)
    made = new_cache(own)
    made.backbone(cell.backbone, 0)
    name = ArtifactName(KIND, cell.backbone.artifact)
    (told,) = shared_costs(cell, made.artifacts)
    assert told.device_seconds is not None

    elsewhere = new_cache(tmp_path / "elsewhere")
    (unknown,) = shared_costs(cell, elsewhere.artifacts)
    assert (unknown.key, unknown.device_seconds, unknown.seconds) == (told.key, None, None)
    content = (read(made.artifacts, name) for read in (read_weights_file, read_cost_file))
    store_weights_file(elsewhere.artifacts, name, *content)
    assert shared_costs(cell, elsewhere.artifacts) == (told,)


RACER = """
import pickle, sys, time
from pathlib import Path
import torch
from tlbench.worker import pretrain
from tlbench.worker.cache import WorkerCache
from tlbench.store.artifacts import Artifacts
choice, root = pickle.loads(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2])
cache, trained = WorkerCache(Artifacts(root), torch.device("cpu")), []
save = pretrain.save_weights
pretrain.save_weights = lambda *args: (trained.append(1), time.sleep(1), save(*args))
print("ready", flush=True)
sys.stdin.readline()
cache.backbone(choice, 0)
print(len(trained), flush=True)
"""


def test_two_processes_that_want_the_same_weights_at_once_train_once(own: Path, tmp_path: Path, decoded: Path) -> None:
    choice = pretrained_cell(tmp_path, decoded).backbone
    script, wanted = tmp_path / "racer.py", tmp_path / "choice.pickle"
    script.write_text(RACER)
    wanted.write_bytes(pickle.dumps(choice))
    command = [sys.executable, str(script), str(wanted), str(own)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(2)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        counts = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    assert sorted(counts) == [0, 1]
    assert load_file(weights_file(Artifacts(own), ArtifactName(KIND, choice.artifact)))
