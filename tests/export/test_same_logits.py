"""A model in a folder has the test logits of its cell, bit for bit, whatever method made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from exported_models import described, exported, hash_of_test_logits, one_cell, text_grid
from one_process import done, new_cache
from safetensors.torch import load_file
from small_suites import CORPUS, FINETUNE

import tlbench
from tlbench.core.errors import UserError
from tlbench.data.dataset import TEST
from tlbench.export import fit_again
from tlbench.export.export_cell import ExportOptions, export_cell
from tlbench.export.plain_network import plain_network
from tlbench.protocols import adaptation
from tlbench.training.predictor import FeaturePredictor, ModulePredictor

E3 = {"epochs": 3}
PAIR = {"name": "pair", "source": CORPUS, "target": "digits"}
IMAGES = [
    FINETUNE,
    {"name": "lora", "params": {**E3, "rank": 2}},
    {"name": "ssf", "params": E3},
    {"name": "adapter", "params": {**E3, "reduction": 4}},
    {"name": "bitfit", "params": {**E3, "what": "bias_norm"}},
    {"name": "wise_ft", "params": E3},
    {"name": "linear_head", "params": E3},
    "linear_probe",
    "knn",
    "nearest_centroid",
]
TEXTS = [
    FINETUNE,
    {"name": "lora", "params": {**E3, "rank": 2, "lr": 0.05}},
    {"name": "adapter", "params": {**E3, "placement": "parallel"}},
    {"name": "ssf", "params": E3},
    "linear_probe",
]


def name_of(method: Any) -> str:
    return method if isinstance(method, str) else str(method["name"])


@pytest.mark.parametrize("method", IMAGES, ids=name_of)
def test_of_images(tmp_path: Path, decoded: Path, method: Any) -> None:
    result, record, cell, cache = exported(tmp_path, decoded, method)
    assert record.outcome is not None
    assert result.description.provenance["agreement"].startswith("yes")
    assert hash_of_test_logits(tlbench.load(result.folder), cell, cache) == record.outcome.logits


@pytest.mark.parametrize("method", TEXTS, ids=name_of)
def test_of_texts(tmp_path: Path, method: Any) -> None:
    result, record, cell, cache = exported(tmp_path, tmp_path / "artifacts", method, **text_grid(tmp_path))
    assert record.outcome is not None
    model = tlbench.load(result.folder)
    assert hash_of_test_logits(model, cell, cache) == record.outcome.logits
    dataset = cache.dataset(cell.dataset)
    read = cache.read(cell.dataset, cell.backbone)
    own = model.encode([str(dataset.x[int(row)]) for row in dataset.rows(TEST)])
    assert (own == read.x[dataset.rows(TEST)][:, : own.shape[1]]).all()  # type: ignore[call-overload]


def test_of_an_adaptation_it_is_the_network_that_the_validator_selected(
    tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "best_candidate", lambda scores: 1)  # not the last one, whatever it learns
    method = {"name": "mcc", "params": {"steps": 30, "checks": 3, "batch_size": 16}}
    cell = one_cell(tmp_path, decoded, method, protocol="adaptation", datasets=[PAIR], shots=[0])
    cache = new_cache(decoded)
    record = done(cell, cache)
    assert record.outcome is not None
    assert record.outcome.selected["step"] < 30, "the last network would do"
    with pytest.raises(UserError, match="an adaptation is not fitted to all labels"):
        export_cell(cell, record, [], cache, tmp_path / "model", ExportOptions(refit=True))
    result = export_cell(cell, record, [], cache, tmp_path / "model", ExportOptions())
    assert hash_of_test_logits(tlbench.load(result.folder), cell, cache) == record.outcome.logits


def test_a_model_that_answers_otherwise_than_the_stored_one_is_not_exported(tmp_path: Path, decoded: Path) -> None:
    cell, cache = one_cell(tmp_path, decoded, "nearest_centroid"), new_cache(decoded)
    other = done(one_cell(tmp_path, decoded, "linear_probe"), cache)
    record = done(cell, cache)
    swapped = record.model_copy(update={"outcome": other.outcome})
    with pytest.raises(UserError, match="trained again it is another model") as error:
        export_cell(cell, swapped, [], cache, tmp_path / "model", ExportOptions())
    assert f'--force "id={cell.id}"' in error.value.hint
    assert record.outcome is not None
    last_bits = record.outcome.model_copy(update={"logits": "0" * 32})
    nearly = record.model_copy(update={"outcome": last_bits})
    result = export_cell(cell, nearly, [], cache, tmp_path / "model", ExportOptions())
    assert result.description.provenance["agreement"].startswith("nearly")


def test_a_network_that_answers_otherwise_once_it_is_built_is_refused(
    tmp_path: Path, decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlbench.export import export_cell as module

    def shifted(fitted: object, method: str) -> Any:
        plain = plain_network(fitted, method)
        plain.state["head.bias"][0] += 1e-6
        return plain

    monkeypatch.setattr(module, "plain_network", shifted)
    with pytest.raises(UserError, match="answers otherwise once it has been built"):
        exported(tmp_path, decoded, "linear_probe")
    assert not (tmp_path / "model").exists()


def test_refit_fits_to_all_labels_with_what_was_chosen_and_claims_no_scores(tmp_path: Path, decoded: Path) -> None:
    refit = ExportOptions(refit=True)
    result, record, *_ = exported(tmp_path, decoded, "knn", options=refit)
    assert record.outcome is not None
    facts = described(result.folder)
    assert facts["scores"] == {}
    assert facts["provenance"]["labels"] == 1797  # every digit of scikit-learn
    assert facts["network"]["k"] == record.outcome.selected["k"]
    assert len(load_file(result.folder / "model.safetensors")["head.bank"]) == 1797
    assert "test split included" in (result.folder / "README.md").read_text()
    assert facts["calibration"]["examples"] == 1797


def test_labels_that_chose_calibrate_and_those_of_the_test_never_do(tmp_path: Path, decoded: Path) -> None:
    held_out = {"validation": "held_out", "refit": False}
    result, *_ = exported(tmp_path, decoded, FINETUNE, "held", shots=[20], **held_out)
    assert result.description.calibration.examples in (0, 40)
    assert "validation examples" in result.description.calibration.said
    plain, *_ = exported(tmp_path, decoded, FINETUNE, "plain")
    assert plain.description.calibration.temperature is None
    assert "--calibrate" in plain.description.calibration.said
    folds, record, cell, cache = exported(tmp_path, decoded, FINETUNE, "folds", options=ExportOptions(calibrate=True))
    assert "without its fold" in folds.description.calibration.said
    assert record.outcome is not None
    assert hash_of_test_logits(tlbench.load(folds.folder), cell, cache) == record.outcome.logits


def test_what_is_no_network_with_a_linear_head_is_refused() -> None:
    network = torch.nn.Linear(2, 2)
    for fitted in (ModulePredictor(network, []), FeaturePredictor(network, torch.tanh, 0, 0), object()):  # type: ignore[arg-type]
        with pytest.raises(UserError, match="odd cannot be exported"):
            plain_network(fitted, "odd")


def test_a_bag_of_words_has_no_network_to_export(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tfidf cannot be exported"):
        exported(tmp_path, tmp_path / "artifacts", "tfidf", **text_grid(tmp_path))


def test_models_of_episodes_are_refused(tmp_path: Path, decoded: Path) -> None:
    episodic = {"protocol": "episodic", "datasets": ["digits"], "ways": 2, "shots": [1], "episodes": 2}
    with pytest.raises(UserError, match="fitted anew to every episode"):
        exported(tmp_path, decoded, "nearest_centroid", **episodic)


def test_differences_are_seen_to_the_last_bit() -> None:
    ones = torch.ones(3)
    assert fit_again._difference(ones, ones.clone()) == 0
    assert fit_again._difference(ones, ones.nextafter(torch.tensor(2.0))) > 0
