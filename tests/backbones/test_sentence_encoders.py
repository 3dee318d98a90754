"""Sentence encoders pool tokens and cut texts as their own files say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from real_inputs import real_data, real_weights
from safetensors.torch import save_file
from torch import Tensor

from tlbench.backbones.catalog import build, describe, tokenizer
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.errors import UserError
from tlbench.data.tokenizer import encode

transformers = pytest.importorskip("transformers")

from small_encoders import save  # noqa: E402 - it needs transformers

HF = {"kind": "hf", "name": "DEFAULT"}
MEAN = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
CLS = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def sentence_encoder(folder: Path, pooling: dict[str, Any], max_length: int | None = None) -> str:
    """A small encoder as sentence-transformers saves it."""
    save("bert", folder)
    kind = "sentence_transformers.models."
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(
        json.dumps([{"idx": i, "name": str(i), "path": p, "type": kind + t} for i, (p, t) in enumerate(modules)])
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if max_length is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    return f"hf:{folder}"


@pytest.mark.parametrize(
    ("pooling", "own"),
    [(MEAN, "mean"), (CLS, "cls"), ({"pooling_mode": "cls"}, "cls"), ({"pooling_mode": "mean"}, "mean")],
)
def test_pooling_and_length_are_the_encoders_own(pooling: dict[str, Any], own: str, tmp_path: Path) -> None:
    name = sentence_encoder(tmp_path / "own", pooling, 16)
    info = describe(name, {}, HF)
    assert (info.recipe["pooling"], info.recipe["max_length"]) == (own, 16)
    assert info.label.startswith("hf:own/")
    other = describe(name, {"pooling": "cls" if own == "mean" else "mean", "max_length": 20}, HF)
    assert "max_length=20, pooling=" in other.label
    assert other.recipe["max_length"] == 20


def test_an_encoder_that_says_nothing_reads_all_that_it_can_and_takes_the_mean(tmp_path: Path) -> None:
    save("bert", tmp_path / "plain")
    recipe = describe(f"hf:{tmp_path / 'plain'}", {}, HF).recipe
    assert (recipe["pooling"], recipe["max_length"]) == ("mean", 24)
    longer = sentence_encoder(tmp_path / "longer", MEAN, 512)
    assert describe(longer, {}, HF).recipe["max_length"] == 24, "no more than it has positions for"


@pytest.mark.parametrize("pooling", [{"pooling_mode_max_tokens": True}, {**MEAN, "pooling_mode_cls_token": True}])
def test_another_pooling_is_refused_unless_the_suite_chooses(pooling: dict[str, Any], tmp_path: Path) -> None:
    name = sentence_encoder(tmp_path / "other", pooling)
    with pytest.raises(UserError, match="it pools its tokens by") as caught:
        describe(name, {}, HF)
    assert "pooling: mean" in caught.value.hint
    assert describe(name, {"pooling": "mean"}, HF).recipe["pooling"] == "mean"


def test_features_of_length_one_are_asked_for(tmp_path: Path) -> None:
    name = sentence_encoder(tmp_path / "own", MEAN)
    plain, unit = describe(name, {}, HF), describe(name, {"normalize": True}, HF)
    assert "normalize" not in plain.recipe
    ids = torch.randint(6, 40, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z, u = (build(info, 0, None).eval()(ids) for info in (plain, unit))
    torch.testing.assert_close(u, z / z.norm(dim=1, keepdim=True))


def test_the_hubs_cache_is_asked_for_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(transformers.utils.hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--sentences"
    sentence_encoder(repository / "snapshots" / ("a" * 40), CLS, 12)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    recipe = describe("hf:someone/sentences", {}, HF).recipe
    assert (recipe["pooling"], recipe["max_length"]) == ("cls", 12)


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features_of_texts_are_those_of_the_encoders_own_pooling(pooling: str) -> None:
    """With the real weights; sentence-transformers divides the sum of the real tokens' states by their number."""
    folder = real_weights(MINILM)
    with real_data("clinc150/clinc150.csv").open(encoding="utf-8") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)][:: 23000 // 12][:12]
    texts[0] = " ".join(texts * 2)  # more than 128 tokens
    info = describe(f"hf:{MINILM}", {"pooling": pooling}, HF)
    assert info.recipe["max_length"] >= 256
    ids = encode(str(tokenizer(info)), texts, info.recipe["max_length"], info.recipe["vocabulary"]["pad"]).ids
    words, model = (
        kind.from_pretrained(folder)  # by its name, the library would ask the hub
        for kind in (transformers.AutoTokenizer, transformers.AutoModel)
    )
    read = words(texts, padding=True, truncation=True, max_length=info.recipe["max_length"], return_tensors="pt")
    with torch.no_grad():
        states: Tensor = model.eval()(**read).last_hidden_state
        mask = read["attention_mask"][..., None].float()
        expected = (states * mask).sum(1) / mask.sum(1) if pooling == "mean" else states[:, 0]
        found = build(info, 0, None).eval()(torch.from_numpy(ids))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_the_file_of_an_encoder_gives_what_the_encoder_gives(prefix: str, tmp_path: Path) -> None:
    """With the library's names, with what pools, and with a tokeniser that is the network's own."""
    name, file = f"hf:{save('bert', tmp_path / 'own')}", tmp_path / "weights.safetensors"
    given = build(describe(name, {}, HF), 0, None).eval()
    state = {key.replace("model.", prefix, 1): tensor for key, tensor in given.body.state_dict().items()}
    older = {f"{prefix}embeddings.position_ids": torch.arange(24)[None]}
    save_file({**state, **older, f"{prefix}pooler.dense.bias": torch.zeros(32)}, file)
    read = build(describe(name, {}, {"kind": "file", "sha256": "0" * 64}), 0, file).eval()
    ids = torch.randint(6, 40, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(read(ids), given(ids))
    usual = str(tokenizer(given.info))
    assert read_tokenizer(file, usual) == usual
    with pytest.raises(UserError, match="carries no tokeniser"):
        read_tokenizer(file)
