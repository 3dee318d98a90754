"""A cell's result does not depend on what its process did before, nor on interruptions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from one_process import Stop, done, new_cache, observe_epochs, stop_at
from small_suites import FINETUNE, PLAIN, PRETRAINED, planned, suite

from tlbench.backbones.backbone import Backbone
from tlbench.core.cell import Cell
from tlbench.store.artifacts import Artifacts
from tlbench.training import frozen_features as features
from tlbench.worker import fit_cell as fitting
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell

EPISODES = {"ways": 5, "episodes": 20, "shots": [1], "datasets": ["glyphs"], "seeds": 1}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory, decoded: Path) -> list[Cell]:
    folder = tmp_path_factory.mktemp("suites")
    grid = {"backbones": [PLAIN, PRETRAINED]}
    episodic = {"protocol": "episodic", "methods": ["nearest_centroid"], **EPISODES}
    return [
        *planned(suite("mixed", grid), folder, decoded),
        *planned(suite("episodes", episodic), folder, decoded),
    ]


def test_digests_are_the_same_in_any_order_and_in_any_process(cells: list[Cell], decoded: Path, tmp_path: Path) -> None:
    assert {cell.method.name for cell in cells} == {"finetune", "nearest_centroid", "linear_probe"}
    shared = new_cache(decoded)
    first = {cell.id: done(cell, shared).digest for cell in cells}
    assert len(set(first.values())) == len(cells) == 13

    torch.manual_seed(12345)
    torch.rand(7)
    again = {cell.id: done(cell, shared).digest for cell in reversed(cells)}
    assert again == first

    shutil.copytree(decoded / "datasets", tmp_path / "other" / "datasets")
    alone = {cell.id: done(cell, new_cache(tmp_path / "other")).digest for cell in cells[1::4]}
    assert alone == {name: first[name] for name in alone}, "made anew, weights and features included"


def test_precision_is_the_devices_unless_the_suite_says_otherwise_and_is_recorded(
    cells: list[Cell], decoded: Path
) -> None:
    cell = next(cell for cell in cells if cell.method.name == "finetune" and cell.backbone.pretrain is None)
    plain = done(cell, new_cache(decoded))
    low = done(cell, WorkerCache(Artifacts(decoded), torch.device("cpu"), precision="bfloat16"))
    assert plain.provenance["precision"] == "float32"
    assert plain.provenance["device"] == "cpu"
    assert plain.provenance["workers"] == 1
    assert {"torch", "torchvision"} <= plain.provenance.keys()
    assert low.provenance["precision"] == "bfloat16"
    assert plain.outcome is not None
    assert low.outcome is not None
    assert low.outcome.curves["train_loss"] != plain.outcome.curves["train_loss"]
    assert low.outcome.curves["train_loss"][0][1] == pytest.approx(plain.outcome.curves["train_loss"][0][1], rel=0.02)


@pytest.mark.parametrize("method", [{"name": "finetune", "params": {"epochs": 6}}, "from_scratch", "protonet"])
def test_an_interrupted_cell_continues_from_its_checkpoint_to_the_same_record(
    method: object, decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method == "protonet":
        params = {"episodes": 6, "check_every": 2, "checks": 4, "ways": 5, "queries": 2}
        grid = {"protocol": "episodic", "methods": [{"name": "protonet", "params": params}], **EPISODES}
    else:
        method = {"name": method, "params": {"epochs": 6}} if isinstance(method, str) else method
        grid = {"methods": [method], "seeds": 1}
    (cell,) = planned(suite("one", grid), tmp_path, decoded)
    straight = done(cell, new_cache(decoded))

    observe_epochs(monkeypatch, fitting, stop_at(3))
    with pytest.raises(Stop):
        run_cell(cell, new_cache(decoded))
    assert list((decoded / "running").glob(f"{cell.id}-*/*.ckpt")), "there is something to continue from"

    epochs: list[int] = []
    observe_epochs(monkeypatch, fitting, lambda done, total: epochs.append(done))
    resumed = done(cell, new_cache(decoded))
    assert resumed.digest == straight.digest
    assert epochs[0] == 3, "the two epochs that were saved are not trained again"
    assert not list((decoded / "running").glob(f"{cell.id}-*")), "nothing is left behind"


def test_features_are_computed_once_for_all_cells_and_processes(
    decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = 3
    grid = {"methods": ["nearest_centroid", "linear_probe", "knn"], "backbones": [PRETRAINED], "seeds": seeds}
    cells = planned(suite("frozen", grid), tmp_path, decoded)
    shutil.copytree(decoded / "datasets", tmp_path / "own" / "datasets")
    cache = new_cache(tmp_path / "own")
    backbone = cache.backbone(cells[0].backbone, 0)
    images = 0

    def count(module: Backbone, args: tuple[torch.Tensor, ...]) -> None:
        nonlocal images
        images += len(args[0])

    backbone.register_forward_pre_hook(count)
    for cell in cells:
        done(cell, cache)
    total = len(cache.dataset(cells[0].dataset).y)
    assert len(cells) == 3 * seeds
    warm_up = features.EMBED_BATCH_SIZE
    assert images == total + warm_up, "one forward pass of every example, whatever the number of cells"

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(features, "embed", refuse)
    assert done(cells[0], new_cache(tmp_path / "own")).outcome is not None


def test_cells_leave_the_shared_backbone_and_data_as_they_were(decoded: Path, tmp_path: Path) -> None:
    grid = {"methods": [FINETUNE, "nearest_centroid", "linear_probe", "knn"], "backbones": [PRETRAINED], "seeds": 1}
    cells = planned(suite("kept", grid), tmp_path, decoded)
    cache = new_cache(decoded)
    backbone = cache.backbone(cells[0].backbone, 0)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    data = cache.dataset(cells[0].dataset)
    pixels, labels = data.x.copy(), data.y.copy()
    for cell in cells:
        done(cell, cache)
    assert cache.backbone(cells[0].backbone, 0) is backbone
    after = backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in backbone.parameters())
    assert (data.x == pixels).all()
    assert (data.y == labels).all()


def test_a_disk_that_is_full_fails_the_cell_with_its_reason_and_the_next_try_succeeds(
    decoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = planned(suite("full", {"methods": ["nearest_centroid"], "backbones": [PRETRAINED]}), tmp_path, decoded)
    shutil.copytree(decoded / "datasets", tmp_path / "own" / "datasets")
    cache = new_cache(tmp_path / "own")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tlbench.worker.pretrain.save_weights", full)
        record = run_cell(cells[0], cache)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["type"] == "UserError"
    assert re.search("the disk mounted at .* is full", record.error["message"])
    assert "save_weights" in record.error["traceback"]

    with monkeypatch.context() as patch:
        patch.setattr("tlbench.training.frozen_features.write_array", full)
        record = run_cell(cells[0], cache)
    assert record.error is not None
    assert re.search("the disk mounted at .* is full", record.error["message"])
    made = [path for path in (tmp_path / "own" / "features").iterdir() if path.suffix != ".lock"]
    assert made == [], "no half-made artifact is left to be taken for a whole one"
    assert done(cells[0], cache).digest == done(cells[0], new_cache(decoded)).digest


def test_an_artifact_folder_that_cannot_be_written_fails_the_cell_with_its_reason(
    decoded: Path, tmp_path: Path
) -> None:
    cells = planned(suite("shut", {"methods": ["nearest_centroid", FINETUNE], "seeds": 1}), tmp_path, decoded)
    cells.sort(key=lambda cell: cell.method.name, reverse=True)
    shutil.copytree(decoded / "datasets", tmp_path / "own" / "datasets")
    for kind in ("features", "running"):
        (tmp_path / "own" / kind).write_text("a file where a folder should be")
    records = [run_cell(cell, new_cache(tmp_path / "own")) for cell in cells]
    assert [record.status for record in records] == ["failed", "failed"]
    for record, kind in zip(records, ("features", "running"), strict=True):
        assert record.error is not None
        assert record.error["type"] in ("FileExistsError", "NotADirectoryError")
        assert f"own/{kind}" in record.error["message"]
        (tmp_path / "own" / kind).unlink()
    assert all(done(cell, new_cache(tmp_path / "own")) for cell in cells)
