"""The text encoders: what they compute, that padding does not matter, and what their parts are called."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlbench.backbones import catalog
from tlbench.backbones.backbone import Backbone, Vocabulary
from tlbench.backbones.catalog import build, describe
from tlbench.backbones.transformer_encoder import Encoder, is_real
from tlbench.backbones.weights import load_weights, read_weights, save_weights
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.errors import UserError
from tlbench.data import tokenizer
from tlbench.plugins import registry
from tlbench.training.classifier import Classifier

RANDOM = {"kind": "random"}
FILE = {"kind": "file", "sha256": "0" * 64}
PAD, LENGTH = 0, 24


def encoder(seed: int = 0, width: int = 32, **params: Any) -> Backbone:
    """A narrow encoder, its biases, scales and shifts away from where they start."""
    info = describe("text_tiny", {"vocabulary": 512, "max_length": LENGTH, "dropout": 0.0, **params}, RANDOM)
    backbone = build(replace(info, recipe={**info.recipe, "width": width, "heads": 2}), seed, None)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return backbone.double().eval()


def texts(*lengths: int, length: int = LENGTH) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    ids = torch.zeros(len(lengths), length, dtype=torch.int32)
    for row, own in zip(ids, lengths, strict=True):
        row[:own] = torch.randint(5, 512, (own,), generator=generator)
        row[0], row[own - 1] = 2, 3
    return ids


@pytest.mark.parametrize(
    ("name", "layers", "width"),
    [("text_tiny", 2, 128), ("text_mini", 4, 256), ("text_small", 4, 512), ("text_medium", 8, 512)],
)
def test_sizes_are_those_of_the_bert_miniatures(name: str, layers: int, width: int) -> None:
    backbone = build(describe(name, {"vocabulary": 512}, RANDOM), 0, None)
    assert backbone.out_dim == width
    assert len(backbone.blocks) == layers
    assert backbone.info.recipe["heads"] == width // 64
    block = 4 * width * (width + 1) + 4 * width * (width + 1) + width * (4 * width + 1) + 4 * width
    assert sum(p.numel() for p in backbone.parameters()) == (512 + 128 + 2 + 2) * width + layers * block
    assert backbone.vocabulary == Vocabulary(512, 0, 4, (0, 1, 2, 3, 4))
    assert backbone.body.embedding.weight.shape == (512, width)


def test_what_a_backbone_says_of_special_ids_is_what_tokenisers_make_them() -> None:
    found = build(describe("text_tiny", {}, RANDOM), 0, None).vocabulary
    assert found is not None
    assert (found.pad, found.mask, found.special) == (tokenizer.PAD, tokenizer.MASK, tuple(range(5)))
    assert len(tokenizer.SPECIAL) == 5


def test_hidden_states_are_those_of_torch_s_transformer() -> None:
    backbone = encoder()
    body, shape = backbone.body, {"d_model": 32, "nhead": 2, "dim_feedforward": 128}
    ids = texts(LENGTH, 5, 11).long()
    h = body.stem.norm(body.embedding(ids) + body.stem.positions.weight)
    padding = ids == PAD
    for block in body.blocks:
        layer = (
            nn.TransformerEncoderLayer(**shape, activation="gelu", norm_first=True, batch_first=True).double().eval()
        )
        own = {
            "self_attn.in_proj_weight": block.attn.qkv.weight,
            "self_attn.in_proj_bias": block.attn.qkv.bias,
            "self_attn.out_proj.weight": block.attn.proj.weight,
            "self_attn.out_proj.bias": block.attn.proj.bias,
        }
        pairs = {"linear1": block.mlp.fc1, "linear2": block.mlp.fc2, "norm1": block.norm1, "norm2": block.norm2}
        for name, module in pairs.items():
            own |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        layer.load_state_dict(own)
        h = layer(h, src_key_padding_mask=padding)
    expected = body.norm(h)
    states = body.states(ids)
    torch.testing.assert_close(states[~padding], expected[~padding], rtol=0, atol=1e-12)
    means = torch.stack([row[:own].mean(0) for row, own in zip(expected, (LENGTH, 5, 11), strict=True)])
    torch.testing.assert_close(body(ids), means, rtol=0, atol=1e-12)
    first = encoder(pooling="cls").body
    first.load_state_dict(body.state_dict())
    torch.testing.assert_close(first(ids), expected[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_padding_and_the_other_texts_change_no_output(pooling: str, dtype: torch.dtype) -> None:
    backbone = encoder(pooling=pooling).to(dtype)
    lengths = (3, 9, 17, LENGTH)
    ids = texts(*lengths)
    together, states = backbone(ids), backbone.body.states(ids.long())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for row, own in enumerate(lengths):
        alone = ids[row : row + 1]
        for cut in {own, min(own + 3, LENGTH), LENGTH}:
            torch.testing.assert_close(backbone(alone[:, :cut])[0], together[row], rtol=0, atol=tolerance)
            there = backbone.body.states(alone[:, :cut].long())[0, :own]
            torch.testing.assert_close(there, states[row, :own], rtol=0, atol=tolerance)


def test_the_position_of_a_token_matters_and_every_token_does() -> None:
    backbone = encoder()
    ids = texts(10)
    for position in range(10):
        other = ids.clone()
        other[0, position] = 300
        assert (backbone(other) - backbone(ids)).abs().max() > 1e-3
    swapped = ids[:, [0, 2, 1, *range(3, LENGTH)]]
    assert (backbone(swapped) - backbone(ids)).abs().max() > 1e-3


def test_between_its_parts_the_states_of_padding_are_zero_and_no_others_are() -> None:
    backbone, seen = encoder(), []
    for part in (backbone.body.stem, *backbone.body.blocks):
        part.register_forward_hook(lambda module, args, output: seen.append(output))
    ids = texts(4, LENGTH, 13)
    backbone.train()(ids)
    assert len(seen) == 3
    for h in seen:
        assert torch.equal(is_real(h), ids != PAD)
        assert not h[ids == PAD].any()


def test_nothing_of_padding_is_trained() -> None:
    backbone = encoder()
    backbone.body(texts(4, 9).long()).square().sum().backward()
    table, positions = backbone.body.embedding.weight.grad, backbone.body.stem.positions.weight.grad
    assert not table[PAD].any()
    assert positions[:9].any(1).all()
    assert not positions[9:].any()


def test_ids_are_trimmed_to_the_longest_text_in_eights() -> None:
    prepare = encoder().prepare
    for lengths, expected in (((3, 5), 8), ((3, 8), 8), ((9, 2), 16), ((LENGTH, 3), LENGTH), ((17,), LENGTH)):
        ids = texts(*lengths)
        prepared = prepare(ids)
        assert prepared.dtype == torch.int64
        assert torch.equal(prepared, ids[:, :expected].long())
    assert prepare(texts(17, length=20)).shape == (1, 20)
    assert prepare(torch.zeros(2, LENGTH, dtype=torch.int32)).shape == (2, 8)


def test_fresh_weights_are_narrow_normals_without_bias() -> None:
    body = build(describe("text_mini", {}, RANDOM), 0, None).body
    for module in body.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert abs(module.weight.mean().item()) < 1e-3
        if isinstance(module, nn.Linear):
            assert not module.bias.any()
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()


def test_fresh_weights_come_from_the_recipe_and_the_seed() -> None:
    info = describe("text_tiny", {}, RANDOM)
    first, again, other = (build(info, seed, None).body.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.tokens.weight"], other["stem.tokens.weight"])


def test_groups_cover_all_from_stem_to_top_and_sublayers_are_found() -> None:
    backbone = encoder()
    assert backbone.layer_groups == [["stem"], ["blocks.0"], ["blocks.1", "norm"]]
    assert backbone.blocks == ["blocks.0", "blocks.1"]
    assert [(one.attention, one.feed_forward) for one in backbone.sublayers] == [
        ("blocks.0.attn", "blocks.0.mlp"),
        ("blocks.1.attn", "blocks.1.mlp"),
    ]
    own = sorted(id(parameter) for parameter in backbone.parameters())
    for groups in (backbone.group_parameters(), backbone.fine_groups()):
        assert sorted(id(parameter) for group in groups for parameter in group) == own
        assert len(groups) == 3


def test_lora_finds_query_key_and_value_and_every_linear_layer() -> None:
    choose = registry.declaration("methods", "lora").load().choose_layers
    names = {"attn.qkv": (3, (0, 2))}
    for targets, expected in (
        ("qv", names),
        ("attention", {"attn.qkv": (3, (0, 1, 2)), "attn.proj": (1, (0,))}),
        ("all_linear", {"attn.qkv": (3, (0, 1, 2)), **dict.fromkeys(("attn.proj", "mlp.fc1", "mlp.fc2"), (1, (0,)))}),
    ):
        sites, notes = choose(encoder(), targets)
        found = {name: (rows.parts, rows.chosen) for name, rows in sites.items()}
        assert found == {f"blocks.{n}.{name}": rows for n in range(2) for name, rows in expected.items()}
        assert notes == []


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_dropout_acts_in_training_only_and_leaves_padding_alone(precision: torch.dtype) -> None:
    backbone = build(describe("text_tiny", {"vocabulary": 512, "dropout": 0.5}, RANDOM), 0, None)
    ids = texts(4, 9)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        torch.manual_seed(0)
        first, second = backbone.train()(ids), backbone(ids)
        assert (first - second).abs().max() > 0.01
        torch.manual_seed(0)
        longer = torch.nn.functional.pad(ids, (0, 8))
        assert torch.equal(backbone(longer), first), "the same masks, whatever is trimmed"
        assert torch.equal(backbone.eval()(ids), backbone(ids))


def test_a_classifier_of_texts_learns_what_no_bag_of_words_can() -> None:
    """The label is which of two words comes first."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(20, 40, (256, 8), generator=generator, dtype=torch.int32)
    ids[:, 0], ids[:, 7] = 2, 3
    labels = torch.randint(0, 2, (256,), generator=generator)
    places = torch.rand(256, 6, generator=generator).argsort(1)[:, :2].sort(1).values + 1
    places = torch.where(labels[:, None] == 0, places, places.flip(1))
    ids.scatter_(1, places, torch.tensor([[10, 11]], dtype=torch.int32).expand(256, 2))
    torch.manual_seed(0)
    model = Classifier(build(describe("text_tiny", {"vocabulary": 512, "dropout": 0.0}, RANDOM), 0, None), 2)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids[:128]), labels[:128]).backward()
        optimizer.step()
    assert (model.eval()(ids[128:]).argmax(1) == labels[128:]).double().mean() > 0.8


@pytest.mark.parametrize(
    ("params", "weights", "shown"),
    [
        ({}, RANDOM, "text_tiny/random"),
        ({"vocabulary": 4096, "pooling": "mean"}, RANDOM, "text_tiny/random"),
        (
            {"tokenizer": "wordpiece", "vocabulary": 8192},
            RANDOM,
            "text_tiny(tokenizer=wordpiece, vocabulary=8192)/random",
        ),
        ({"lowercase": False}, RANDOM, "text_tiny(lowercase=false)/random"),
        ({"max_length": 32}, FILE, "text_tiny(max_length=32)/file:00000000"),
    ],
)
def test_labels_show_what_differs_from_the_defaults(
    params: dict[str, Any], weights: dict[str, Any], shown: str
) -> None:
    info = describe("text_tiny", params, weights)
    assert info.label == shown
    assert info.modality == "text"


def test_every_option_is_part_of_the_recipe() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"tokenizer": "wordpiece"},
        {"vocabulary": 1000},
        {"lowercase": False},
        {"max_length": 64},
        {"pooling": "cls"},
        {"dropout": 0.0},
    ]
    recipes = [describe("text_tiny", change, RANDOM).recipe for change in changes]
    assert all(one != other for place, one in enumerate(recipes) for other in recipes[:place])
    written_out = describe("text_tiny", {"tokenizer": "bpe", "vocabulary": 4096, "max_length": 128}, RANDOM)
    assert written_out.recipe == recipes[0]


@pytest.mark.parametrize(
    ("name", "params", "weights", "message", "hint"),
    [
        ("text_tini", {}, RANDOM, "unknown backbone 'text_tini'", "text_tiny"),
        ("text_tiny", {"tokeniser": "bpe"}, RANDOM, "'tokeniser'", "tokenizer"),
        ("text_tiny", {"vocabulary": 100}, RANDOM, "'vocabulary'", ""),
        ("text_tiny", {"image_size": 32}, RANDOM, "'image_size'", ""),
        ("text_tiny", {"tokenizer": "bpe"}, FILE, "'tokenizer' goes with the weights", "leave it out"),
        ("text_tiny", {"lowercase": True}, FILE, "'lowercase' goes with the weights", "leave it out"),
        ("text_tiny", {}, {"kind": "timm", "name": "DEFAULT"}, "timm has no weights", "pretrain"),
    ],
)
def test_mistakes_are_named(
    name: str, params: dict[str, Any], weights: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UserError) as caught:
        describe(name, params, weights)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_describing_and_reading_a_tokeniser_load_no_torch(tmp_path: Path) -> None:
    save_weights(encoder(), tmp_path / "w.safetensors", "{}")
    code = (
        "import sys\nfrom pathlib import Path\nfrom tlbench.backbones import catalog, weights_metadata\n"
        "for name in ('text_tiny', 'text_mini', 'text_small', 'text_medium'):\n"
        "    assert name in catalog.names() and catalog.summaries()[name]\n"
        "    catalog.describe(name, {}, {'kind': 'random'})\n"
        "assert not {'torch', 'numpy', 'tokenizers'} & set(sys.modules), 'heavy'\n"
        f"assert weights_metadata.read_tokenizer(Path({str(tmp_path / 'w.safetensors')!r})) == '{{}}'\n"
        "assert 'torch' not in sys.modules, 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_weights_go_into_a_file_with_their_tokeniser_and_come_back(tmp_path: Path) -> None:
    given, file = encoder(seed=1), tmp_path / "w.safetensors"
    text = tokenizer.train(["what a day"], tokenizer.Design("bpe", 512, True))
    save_weights(given, file, text)
    assert read_tokenizer(file) == text
    assert load_file(file).keys() == given.body.state_dict().keys()
    other = encoder(seed=2)
    load_weights(other, read_weights(file), "there", exact=True)
    assert torch.equal(other(texts(7)), given(texts(7)))
    again = tmp_path / "again.safetensors"
    save_weights(given, again, text)
    assert again.read_bytes() == file.read_bytes()


def test_files_without_a_tokeniser_are_refused_with_what_to_do(tmp_path: Path) -> None:
    bare, pickled = tmp_path / "bare.safetensors", tmp_path / "pickled.pt"
    save_file({"a": torch.zeros(2)}, bare)
    torch.save({"a": torch.zeros(2)}, pickled)
    for file, reason in ((bare, "carries no tokeniser"), (pickled, "needs a .safetensors file"), (tmp_path, "needs a")):
        with pytest.raises(UserError, match=reason) as caught:
            read_tokenizer(file)
        assert str(file) in caught.value.message
        assert "metadata={'tokenizer'" in caught.value.hint


def test_weights_of_another_vocabulary_or_length_do_not_fit(tmp_path: Path) -> None:
    save_weights(encoder(), tmp_path / "w.safetensors", "{}")
    for params in ({"vocabulary": 600}, {"max_length": 32}):
        with pytest.raises(UserError, match="of another shape: stem"):
            load_weights(encoder(**params), read_weights(tmp_path / "w.safetensors"), "there")


def test_the_encoders_are_listed() -> None:
    assert {name for name, family in catalog.family_of_name().items() if family == "text_encoder"} == {
        "text_tiny",
        "text_mini",
        "text_small",
        "text_medium",
    }
    assert isinstance(encoder().body, Encoder)
