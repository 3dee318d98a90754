"""The family of Hugging Face's encoders, against transformers itself; nothing is downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlbench.backbones import catalog, huggingface_files
from tlbench.backbones.backbone import Backbone
from tlbench.backbones.catalog import build, describe
from tlbench.cli.list import rows_of
from tlbench.core.errors import UserError
from tlbench.data.dataset import Split
from tlbench.data.tokenizer import encode
from tlbench.planning.catalog import full_catalog as names
from tlbench.plugins import registry
from tlbench.suite.json_schema import schema
from tlbench.suite.load import loads
from tlbench.suite.spec import Weights
from tlbench.suite.yaml_source import parse
from tlbench.training.context import Context
from tlbench.training.parameter_efficient.bottleneck_adapters import AdapterDesign, add_adapters, remove_adapters
from tlbench.training.selfsupervised.language_head import LanguageModel

transformers = pytest.importorskip("transformers")
from small_encoders import KINDS, NARROW, save, tokenizer  # noqa: E402

RANDOM = {"kind": "random"}
HF = {"kind": "hf", "name": "DEFAULT"}
TRAINED = Weights(kind="hf", name="DEFAULT")
TEXTS = ["the card is lost", "rent", "please freeze my card what is my balance", "how is the zebra paid"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(kind, tmp_path_factory.mktemp("encoders") / f"small-{kind}") for kind in KINDS}


@pytest.fixture(autouse=True)
def forget() -> None:
    """What one test's folders hold is not remembered in the next."""
    huggingface_files.find.cache_clear()
    huggingface_files.weights_hash.cache_clear()


def built(folder: Path, weights: dict[str, Any] = HF, seed: int = 0, **params: Any) -> Backbone:
    return build(describe(f"hf:{folder}", params, weights), seed, None).eval()


def ids_of(backbone: Backbone) -> Tensor:
    recipe = backbone.info.recipe
    text = catalog.tokenizer(backbone.info)
    assert text is not None
    return torch.from_numpy(encode(text, TEXTS, recipe["max_length"], recipe["vocabulary"]["pad"]).ids)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_means_of_the_states_that_transformers_gives(kind: str, saved: dict[str, Path]) -> None:
    backbone = built(saved[kind])
    model = transformers.AutoModel.from_pretrained(saved[kind]).eval()
    given = tokenizer(kind)(TEXTS, padding=True, return_tensors="pt")
    assert torch.equal(ids_of(backbone), given["input_ids"])
    with torch.no_grad():
        states = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
        real = given["attention_mask"].bool()
        found = backbone.body.states(given["input_ids"])
        torch.testing.assert_close(found[real], states[real], rtol=0, atol=1e-6)
        means = torch.stack([row[own].mean(0) for row, own in zip(states, real, strict=True)])
        torch.testing.assert_close(backbone(ids_of(backbone)), means, rtol=0, atol=1e-6)
        first = built(saved[kind], pooling="cls")
        torch.testing.assert_close(first(ids_of(first)), states[:, 0], rtol=0, atol=1e-6)
    assert backbone.out_dim == 32
    assert torch.equal(backbone.body.embedding.weight, model.get_input_embeddings().weight)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_the_other_texts_change_no_output(kind: str, saved: dict[str, Path]) -> None:
    backbone = built(saved[kind])
    ids = ids_of(backbone)
    assert backbone.vocabulary is not None
    with torch.no_grad():
        together = backbone(ids)
        longer = torch.nn.functional.pad(ids, (0, 8), value=backbone.vocabulary.pad)
        torch.testing.assert_close(backbone.body(longer.long()), together, rtol=0, atol=1e-5)
        for row in range(len(ids)):
            torch.testing.assert_close(backbone(ids[row : row + 1])[0], together[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabulary_is_the_tokeniser_s(kind: str, saved: dict[str, Path]) -> None:
    backbone, own = built(saved[kind]), tokenizer(kind)
    found = backbone.vocabulary
    assert found is not None
    assert (found.size, found.pad, found.mask) == (64, own.pad_token_id, own.mask_token_id)
    assert found.special == tuple(sorted(own.all_special_ids)) == (0, 1, 2, 3, 4)
    assert found.pad == (1 if kind == "roberta" else 0)
    assert backbone.body.embedding.weight.shape[0] == found.size


@pytest.mark.parametrize("kind", KINDS)
def test_groups_cover_all_from_stem_to_top_and_nothing_pools(kind: str, saved: dict[str, Path]) -> None:
    backbone = built(saved[kind])
    own = sorted(id(parameter) for parameter in backbone.parameters())
    for groups in (backbone.group_parameters(), backbone.fine_groups()):
        assert sorted(id(parameter) for group in groups for parameter in group) == own
        assert len(groups) == 3
        assert any(backbone.body.embedding.weight is parameter for parameter in groups[0])
    assert len(backbone.blocks) == len(backbone.sublayers) == 2
    assert not [name for name, _ in backbone.body.named_parameters() if "pooler" in name]
    ids = ids_of(backbone)
    backbone.train()(ids).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bert", {"attention.self.query": 1, "attention.self.value": 1}),
        ("roberta", {"attention.self.query": 1, "attention.self.value": 1}),
        ("distilbert", {"attention.q_lin": 1, "attention.v_lin": 1}),
        ("modernbert", {"attn.Wqkv": 3}),
    ],
)
def test_lora_finds_query_and_value(kind: str, expected: dict[str, int], saved: dict[str, Path]) -> None:
    backbone = built(saved[kind])
    sites, notes = registry.declaration("methods", "lora").load().choose_layers(backbone, "qv")
    assert {name: rows.parts for name, rows in sites.items()} == {
        f"{block}.{name}": parts for block in backbone.blocks for name, parts in expected.items()
    }
    assert notes == []
    assert len(registry.declaration("methods", "lora").load().choose_layers(backbone, "all_linear")[0]) >= 8


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer", "parallel"])
@pytest.mark.parametrize("kind", KINDS)
def test_adapters_stand_before_the_sums_and_read_what_sublayers_read(
    kind: str, placement: Any, saved: dict[str, Path]
) -> None:
    backbone = built(saved[kind])
    ids = ids_of(backbone)
    before = backbone(ids)
    added = add_adapters(backbone, ids, AdapterDesign(placement, 4, 1.0, "relu"), torch.Generator().manual_seed(0))
    assert len(added) == (4 if placement == "houlsby" else 2)
    assert {(one.adapter.down.in_features, one.adapter.up.out_features) for one in added.values()} == {(32, 32)}
    assert torch.equal(backbone(ids), before)
    for one in added.values():
        torch.nn.init.normal_(one.adapter.up.weight, generator=torch.Generator().manual_seed(1))
    assert (backbone(ids) - before).abs().max() > 1e-3
    if kind in ("bert", "roberta") and placement != "parallel":
        assert {name.rpartition("layer.")[2][2:] for name in added} <= {"attention.output.dense", "output.dense"}
    state = backbone.state_dict()
    remove_adapters(backbone)
    assert torch.equal(backbone(ids), before)
    assert len(state) > len(backbone.state_dict())


def test_a_parallel_adapter_of_bert_reads_what_the_perceptron_reads(saved: dict[str, Path]) -> None:
    backbone = built(saved["bert"])
    ids = ids_of(backbone)
    added = add_adapters(backbone, ids, AdapterDesign("parallel", 4, 2.0, "relu"), torch.Generator().manual_seed(0))
    for one in added.values():
        torch.nn.init.normal_(one.adapter.up.weight, generator=torch.Generator().manual_seed(1))
    layer = backbone.body.model.encoder.layer[0]
    h = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(2))
    attended = layer.attention(h)[0]
    dense = layer.output.dense
    inner = layer.intermediate.inner(attended)
    expected = layer.output.LayerNorm(dense.inner(inner) + 2 * dense.adapter(attended) + attended)
    found = layer(h)
    torch.testing.assert_close(found if isinstance(found, Tensor) else found[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NARROW)
def test_masked_tokens_are_told_by_a_table_that_is_narrower_than_the_states(kind: str, tmp_path: Path) -> None:
    """With the weights of the library's own head under masked language modelling, which is made alike."""
    backbone = built(save(kind, tmp_path / kind))
    library = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / kind).eval()
    head = library.predictions if kind == "albert" else library.generator_predictions
    model = LanguageModel(backbone, torch.Generator().manual_seed(0)).eval()
    model.transform[0].load_state_dict(head.dense.state_dict())
    model.transform[2].load_state_dict(head.LayerNorm.state_dict())
    model.bias.data.copy_(library.get_output_embeddings().bias)
    ids = ids_of(backbone)
    rows, columns = (ids != 0).nonzero(as_tuple=True)
    with torch.no_grad():
        expected = library(input_ids=ids.long(), attention_mask=(ids != 0).long()).logits[rows, columns]
        torch.testing.assert_close(model(ids.long(), rows, columns), expected, rtol=0, atol=1e-5)
    assert backbone.body.embedding.weight.shape[1] < backbone.out_dim
    assert [p is backbone.body.embedding.weight for p in model.parameters() if len(p) == 64].count(True) == 1


@pytest.mark.parametrize("kind", NARROW)
def test_masked_language_modelling_trains_a_narrow_table_and_all_else(kind: str, tmp_path: Path) -> None:
    backbone = built(save(kind, tmp_path / kind), RANDOM)
    ids = ids_of(backbone).int().numpy().repeat(8, 0)
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    mlm, ctx = registry.declaration("methods", "mlm").load(), Context(random_root="narrow", device=torch.device("cpu"))
    mlm.pretrain(Split(ids, None, np.arange(len(ids))), backbone, mlm.Config(epochs=20, lr=5e-3), ctx)
    losses = [loss for _, loss in ctx.curves["train_loss"]]
    assert losses[-1] < losses[0] - 0.5
    assert not any(torch.equal(before[name], p) for name, p in backbone.named_parameters() if p.ndim > 1)


def test_random_weights_come_from_the_recipe_and_the_seed_and_leave_the_generator_alone(saved: dict[str, Path]) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, again, other = (built(saved["bert"], RANDOM, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    name = "body.model.embeddings.word_embeddings.weight"
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first[name], other[name])
    published = load_file(saved["bert"] / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(built(saved["bert"]).state_dict()[name], published)


def test_recipes_hold_content_and_no_path(saved: dict[str, Path], tmp_path: Path) -> None:
    here = describe(f"hf:{saved['bert']}", {}, HF)
    moved = tmp_path / "elsewhere" / saved["bert"].name
    shutil.copytree(saved["bert"], moved)
    assert describe(f"hf:{moved}", {}, HF).recipe == here.recipe
    assert str(saved["bert"].parent) not in json.dumps(here.recipe)
    assert here.label == f"hf:small-bert/hf:{here.recipe['weights']['name'][:8]}"
    assert describe(f"hf:{moved}", {"pooling": "cls"}, RANDOM).label == "hf:small-bert(pooling=cls)/random"

    def both() -> tuple[Any, Any]:
        huggingface_files.find.cache_clear()
        huggingface_files.weights_hash.cache_clear()
        return describe(f"hf:{moved}", {}, HF).recipe, describe(f"hf:{moved}", {}, RANDOM).recipe

    trained, fresh = both()
    weights = load_file(moved / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, moved / "model.safetensors")
    other_trained, other_fresh = both()
    assert trained != other_trained
    assert fresh == other_fresh, "random weights are none of the file's"
    said = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**said, "hidden_act": "relu"}))
    assert fresh not in both()


def test_a_folder_that_changed_since_the_plan_is_not_used(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "changing"
    shutil.copytree(saved["bert"], folder)
    info = describe(f"hf:{folder}", {}, HF)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / "model.safetensors")
    huggingface_files.weights_hash.cache_clear()
    with pytest.raises(UserError, match="its content here is not the content this run was planned with"):
        build(info, 0, None)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "hidden_act": "relu"}))
    huggingface_files.find.cache_clear()
    with pytest.raises(UserError, match="its content here is not the content this run was planned with"):
        catalog.tokenizer(info)


def test_lengths_are_those_that_network_and_tokeniser_take(saved: dict[str, Path], tmp_path: Path) -> None:
    for kind in KINDS:
        info = describe(f"hf:{saved[kind]}", {}, RANDOM)
        assert (info.recipe["max_length"], info.label) == (24, f"hf:small-{kind}/random")
        assert describe(f"hf:{saved[kind]}", {"max_length": 8}, RANDOM).recipe["max_length"] == 8
    limitless = tmp_path / "limitless"
    shutil.copytree(saved["roberta"], limitless)
    told = json.loads((limitless / "tokenizer_config.json").read_text())
    (limitless / "tokenizer_config.json").write_text(json.dumps({**told, "model_max_length": 10**30}))
    backbone = built(limitless)
    assert backbone.info.recipe["max_length"] == 24, "26 positions, of which RoBERTa leaves two unused"
    assert backbone(torch.full((1, 24), 7)).shape == (1, 32)


@pytest.mark.parametrize("kind", [*KINDS, *NARROW])
def test_without_a_limit_of_the_tokeniser_every_position_of_the_network_serves(kind: str, tmp_path: Path) -> None:
    """As of a tokeniser that was saved without ``model_max_length``."""
    folder = save(kind, tmp_path / kind)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    del told["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    longest = describe(f"hf:{folder}", {"max_length": 24}, RANDOM)
    assert build(longest, 0, None)(torch.full((1, 24), 7)).shape == (1, 32)
    with pytest.raises(UserError, match="'max_length' 25 is too long"):
        describe(f"hf:{folder}", {"max_length": 25}, RANDOM)


def test_a_tokeniser_that_takes_more_than_the_network_is_held_to_it(saved: dict[str, Path], tmp_path: Path) -> None:
    for kind, longer in (("roberta", 26), ("bert", 25)):
        folder = tmp_path / kind
        shutil.copytree(saved[kind], folder)
        told = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**told, "model_max_length": longer}))
        assert describe(f"hf:{folder}", {}, RANDOM).recipe["max_length"] == 24


def errors(saved: dict[str, Path], tmp_path: Path) -> list[tuple[str, dict[str, Any], dict[str, Any], str, str]]:
    gpt, bare, pickled = tmp_path / "gpt", tmp_path / "bare", tmp_path / "pickled"
    gpt.mkdir()
    transformers.GPT2Config().save_pretrained(gpt)
    bare.mkdir()
    shutil.copytree(saved["bert"], pickled)
    state = load_file(pickled / "model.safetensors")
    torch.save(state, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    unmasked = tmp_path / "unmasked"
    shutil.copytree(saved["bert"], unmasked)
    told = json.loads((unmasked / "tokenizer_config.json").read_text())
    (unmasked / "tokenizer_config.json").write_text(json.dumps({**told, "mask_token": None}))
    good = f"hf:{saved['bert']}"
    return [
        (f"hf:{gpt}", {}, RANDOM, "a gpt2 is no encoder of texts", "BERT"),
        (f"hf:{bare}", {}, RANDOM, "there is no config.json", "save_pretrained"),
        ("hf:./small-bert", {}, RANDOM, "a folder is named by its whole path", f"write hf:{Path.cwd()}/small-bert"),
        (f"hf:{pickled}", {}, HF, "no .safetensors weights", "random"),
        (f"hf:{unmasked}", {}, RANDOM, "no token for padding, or none for the mask", ""),
        (good, {}, {"kind": "hf", "name": "main"}, "a folder has no revision 'main'", "weights: hf"),
        (good, {"max_length": 25}, RANDOM, "'max_length' 25 is too long", "up to 24"),
        (good, {"maxlength": 20}, RANDOM, "'maxlength'", "max_length"),
        (good, {}, {"kind": "timm", "name": "DEFAULT"}, "timm has no weights", "weights: hf"),
        ("text_tiny", {}, HF, "hf has no weights 'DEFAULT'", "pretrain"),
    ]


def test_mistakes_are_named(saved: dict[str, Path], tmp_path: Path) -> None:
    for name, params, weights, message, hint in errors(saved, tmp_path):
        with pytest.raises(UserError) as caught:
            describe(name, params, weights)
        assert message in caught.value.message
        assert hint in caught.value.hint


def test_a_file_that_lacks_weights_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    shutil.copytree(saved["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layer.1" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"its file has no weights for encoder\.layer\.1"):
        build(describe(f"hf:{folder}", {}, HF), 0, None)


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, saved: dict[str, Path]) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"need the library transformers.*\n.*tlbench\[hf\]"):
        describe(f"hf:{saved['bert']}", {}, RANDOM)


HUB = """
import json, sys
from tlbench.backbones.catalog import build, describe, tokenizer
from tlbench.core.errors import UserError
out = {}
for name, weights in json.load(sys.stdin):
    try:
        info = describe(name, {}, weights)
        table = build(info, 0, None).body.embedding.weight
        out[str(weights)] = [info.label, info.recipe["content"], table.sum().item()]
        assert len(tokenizer(info)) > 100
    except UserError as error:
        out[str(weights)] = [error.message, error.hint]
print(json.dumps(out))
"""


def test_names_of_the_hub_are_read_from_its_cache_by_commit(saved: dict[str, Path], tmp_path: Path) -> None:
    """As the hub's client lays it out: two commits, the newer of which is ``main``."""
    old, new = "a" * 40, "b" * 40
    repository = tmp_path / "hub" / "models--someone--small"
    for commit, seed in ((old, 1), (new, 2)):
        save("bert", repository / "snapshots" / commit, seed)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(new)
    asked = [("hf:someone/small", {"kind": "hf", "name": name}) for name in ("DEFAULT", "main", old, "c" * 40)]
    asked += [("hf:someone/small", RANDOM)]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", HUB], input=json.dumps(asked), capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    latest, main, older, absent, fresh = json.loads(ran.stdout).values()
    assert latest == main == ["hf:someone/small/hf:bbbbbbbb", new, pytest.approx(latest[2])]
    assert older[:2] == ["hf:someone/small/hf:aaaaaaaa", old]
    assert older[2] != latest[2]
    assert fresh[:2] == ["hf:someone/small/random", new]
    assert "hf:someone/small: cannot be had" in absent[0]
    assert "HF_HUB_OFFLINE" in absent[1]
    assert "it/s" not in ran.stderr, "no bars among a suite's messages"


SUITE = """
name: named
grids:
- protocol: classification
  methods: [linear_probe]
  datasets: [{name: texts, path: texts.csv}]
  backbones:
  - BACKBONE
"""


def test_suites_name_encoders_and_weights(saved: dict[str, Path]) -> None:
    validator = jsonschema.Draft202012Validator(schema(names()))
    name = f'"hf:{saved["bert"]}"'
    for backbone, weights in (
        (name, Weights()),
        (f"{{name: {name}, weights: hf, max_length: 16}}", TRAINED),
        (f"{{name: {name}, weights: hf, pretrain: {{method: supervised, dataset: pydocs}}}}", TRAINED),
    ):
        text = SUITE.replace("BACKBONE", backbone)
        assert loads(text, names(), "s.yaml").grids[0].backbones[0].weights == weights
        assert not list(validator.iter_errors(parse(text, "s.yaml").value))
    with pytest.raises(UserError, match=r"s\.yaml:8: .*a folder has no revision 'main'"):
        loads(SUITE.replace("BACKBONE", f"{{name: {name}, weights: {{hf: main}}}}"), names(), "s.yaml")
    with pytest.raises(UserError, match=r"hf, \{hf: NAME\}"):
        loads(SUITE.replace("BACKBONE", f"{{name: {name}, weights: huggingface}}"), names(), "s.yaml")


def test_the_list_has_one_line_for_all_of_them() -> None:
    lines = [(name, about) for name, about in rows_of("backbones") if name.startswith("hf")]
    assert [name for name, _ in lines] == ["hf:NAME"]
    assert "extra hf" in lines[0][1]
