"""The forms that other programs read: peft, ``torch.export`` and ONNX."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import exported, text_grid
from safetensors.torch import load_file
from small_suites import FINETUNE
from torch import nn

import tlbench
from tlbench.core.errors import UserError
from tlbench.data.dataset import TEST
from tlbench.export import forms
from tlbench.export.export_cell import ExportOptions
from tlbench.training.parameter_efficient.low_rank import fold_low_rank, layer_updates
from tlbench.training.parameter_efficient.low_rank_layers import LowRankDesign, WeightBlocks, add_update

LORA = {"name": "lora", "params": {"epochs": 3, "rank": 2, "lr": 0.05}}
PROGRAM = ExportOptions(torch_export=True)


def test_lora_loads_with_peft_onto_the_untouched_network_and_gives_the_same_logits(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    result, _, cell, cache = exported(tmp_path, tmp_path / "artifacts", LORA, **text_grid(tmp_path))
    model, folder = tlbench.load(result.folder), result.folder / "peft"
    body = cache.own_backbone(cell.backbone, cell.seed).body
    theirs = peft.PeftModel.from_pretrained(body, str(folder)).eval()
    head = nn.Linear(*reversed(load_file(folder / "head.safetensors")["weight"].shape))
    head.load_state_dict(load_file(folder / "head.safetensors"))
    dataset = cache.read(cell.dataset, cell.backbone)
    backbone: Any = model.network.get_submodule("backbone")
    x = backbone.prepare(torch.from_numpy(np.asarray(dataset.x[dataset.rows(TEST)])))  # type: ignore[call-overload]
    with torch.no_grad():
        expected, untouched = model.network(x.int()), head(cache.backbone(cell.backbone, cell.seed).body(x))
        torch.testing.assert_close(head(theirs(x)), expected, rtol=1e-4, atol=1e-5)
    assert float((untouched - expected).abs().max()) > 1e-3, "the updates do nothing"
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"


@pytest.mark.parametrize("name", ["conv4", pytest.param("timm:test_vit", marks=pytest.mark.slow)])
def test_lora_of_convolutions_and_packed_layers_loads_with_peft(tmp_path: Path, decoded: Path, name: str) -> None:
    peft = pytest.importorskip("peft")
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    method = {"name": "lora", "params": {"epochs": 1, "rank": 2, "lr": 0.05}}
    result, _, cell, cache = exported(tmp_path, decoded, method, backbones=[name], shots=[1])
    body = cache.own_backbone(cell.backbone, cell.seed).body.eval()
    theirs = peft.PeftModel.from_pretrained(body, str(result.folder / "peft")).eval()
    backbone: Any = tlbench.load(result.folder).network.get_submodule("backbone")
    dataset = cache.read(cell.dataset, cell.backbone)
    x = backbone.prepare(torch.from_numpy(np.asarray(dataset.x[:8])))  # type: ignore[call-overload]
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), backbone.body(x), rtol=1e-3, atol=1e-4)


def test_updates_of_blocks_are_one_update_of_the_whole_layer() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.kernel = nn.Linear(4, 9), nn.Conv2d(2, 3, 3, groups=1)

    body, chance = Two(), torch.Generator().manual_seed(0)
    add_update(body.qkv, LowRankDesign(2, 3.0), WeightBlocks(3, (0, 2)), chance)
    add_update(body.kernel, LowRankDesign(2, 3.0, rslora=True), WeightBlocks(), chance)
    with torch.no_grad():
        for layer in (body.qkv, body.kernel):
            layer.lora_b.normal_(generator=chance)
    holder: Any = SimpleNamespace(body=body)
    for update in layer_updates(holder):
        layer: Any = body.get_submodule(update.layer)
        own = layer.base("weight").flatten(1) + update.scale * update.b @ update.a
        torch.testing.assert_close(own, layer.effective_weight().flatten(1))
    kept = {name: layer.effective_weight().clone() for name, layer in (("qkv", body.qkv), ("kernel", body.kernel))}
    fold_low_rank(holder)
    assert body.state_dict().keys() == Two().state_dict().keys()
    assert torch.equal(body.qkv.weight, kept["qkv"])
    assert torch.equal(body.kernel.weight, kept["kernel"])


def test_the_small_difference_holds_what_was_trained_and_nothing_else(tmp_path: Path) -> None:
    method = {"name": "bitfit", "params": {"epochs": 3}}
    result, record, cell, cache = exported(tmp_path, tmp_path / "artifacts", method, **text_grid(tmp_path))
    state = load_file(result.folder / "model.safetensors")
    difference = load_file(result.folder / "difference.safetensors")
    assert record.outcome is not None
    assert record.outcome.footprint is not None
    assert sum(tensor.numel() for tensor in difference.values()) == record.outcome.footprint.trainable
    given = {f"backbone.{n}": t for n, t in cache.backbone(cell.backbone, cell.seed).state_dict().items()}
    whole = given | difference
    assert whole.keys() == state.keys()
    assert all(torch.equal(whole[name], state[name]) for name in state)


def test_a_program_of_torch_export_holds_no_pickle_and_answers_as_the_network(tmp_path: Path) -> None:
    result, *_ = exported(tmp_path, tmp_path / "artifacts", FINETUNE, options=PROGRAM, **text_grid(tmp_path))
    assert result.differences["model.pt2"] < 1e-5
    with zipfile.ZipFile(result.folder / "model.pt2") as archive:
        contents = [archive.read(name)[:2] for name in archive.namelist() if name.endswith((".pt", ".pkl"))]
    assert all(start in (b"",) for start in contents), "pickles begin with 0x80 or PK"
    model = tlbench.load(result.folder)
    program = torch.export.load(result.folder / "model.pt2").module()
    ids = torch.from_numpy(model.encode(["a card and a goal", "soup", "my rent is paid"])).long()
    with torch.no_grad():
        torch.testing.assert_close(program(ids), model.network(ids.int()))


def test_onnx_answers_as_the_network(tmp_path: Path, decoded: Path) -> None:
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library, reason=f"{library} is not installed: the extra export has it")
    both = ExportOptions(onnx=True)
    images, *_ = exported(tmp_path, decoded, "linear_probe", "images", options=both)
    assert images.differences["model.onnx"] < 1e-4
    text, *_ = exported(tmp_path, tmp_path / "artifacts", FINETUNE, "texts", options=both, **text_grid(tmp_path))
    assert text.differences["model.onnx"] < 1e-4
    import onnxruntime

    model = tlbench.load(text.folder)
    session = onnxruntime.InferenceSession(str(text.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    ids = model.encode(["a card and a goal", "soup", "my rent is paid"]).astype(np.int64)
    (found,) = session.run(None, {session.get_inputs()[0].name: ids})
    with torch.no_grad():
        np.testing.assert_allclose(found, model.network(torch.from_numpy(ids)).numpy(), rtol=1e-4, atol=1e-5)


def test_prepared_inputs_lie_in_memory_as_a_program_reads_them(tmp_path: Path, decoded: Path) -> None:
    network = tlbench.load(exported(tmp_path, decoded, "linear_probe")[0].folder).network
    backbone: Any = network.get_submodule("backbone")
    spec = backbone.prepare.spec
    cut = replace(spec, framing=replace(spec.framing, resize=spec.framing.image_size + 4))
    backbone.prepare.spec = cut
    raw = np.random.default_rng(0).integers(0, 256, (3, 1, 40, 40), np.uint8)
    assert not backbone.prepare(torch.from_numpy(raw)).is_contiguous(), "the middle is a view"
    assert forms.prepared_inputs(network, raw).is_contiguous()


def test_without_its_libraries_onnx_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UserError, match="--onnx needs the library") as error:
        forms.write_onnx(nn.Linear(2, 2), torch.zeros(2, 2), tmp_path / "model.onnx")
    assert "tlbench[export]" in error.value.hint


def test_a_form_that_answers_otherwise_is_not_left_there(tmp_path: Path, decoded: Path) -> None:
    network = tlbench.load(exported(tmp_path, decoded, "linear_probe")[0].folder).network
    x = torch.randn(4, 1, 28, 28)
    file = tmp_path / "model.pt2"
    file.touch()
    with torch.no_grad():
        wrong = forms._Prepared(network)(x) + 0.1
    with pytest.raises(UserError, match=r"answers otherwise: logits differ by up to 0\.1 on 4 inputs"):
        forms._checked(network, x, wrong, file, "ONNX")
    assert not file.exists()
