"""What a parameter-efficient method adds to or changes in the network it was given, in a file of its own.

LoRA's updates are written in the format of the library peft, which loads them onto the backbone as its own library
makes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from tlbench.core.info import BackboneInfo
from tlbench.training.classifier import Classifier
from tlbench.training.parameter_efficient.low_rank import LayerUpdate, layer_updates
from tlbench.training.predictor import ModulePredictor, stored_tensors

DIFFERENCE, ADAPTER = "difference.safetensors", "peft"
HEAD = "head.safetensors"
_SMALL = 0.5  # share of the network's parameters from which on a difference is none


def small_difference(fitted: object) -> dict[str, Tensor]:
    """Return the tensors that a method trained, by their names in its own network; empty where they are most of it."""
    if not isinstance(fitted, ModulePredictor) or not isinstance(fitted.module, Classifier):
        return {}
    stored = {id(tensor) for tensor in stored_tensors(fitted)}
    named = [*fitted.module.named_parameters(), *fitted.module.named_buffers()]
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in named if id(tensor) in stored}
    total = sum(parameter.numel() for parameter in fitted.module.parameters())
    return own if sum(tensor.numel() for tensor in own.values()) < _SMALL * total else {}


def write_difference(fitted: object, folder: Path) -> dict[str, str]:
    """Write the small difference of a method, where it has one; return what each file is, by name.

    Args:
        fitted: What ``fit`` returned.
        folder: Where to write.
    """
    files: dict[str, str] = {}
    tensors = small_difference(fitted)
    if tensors:
        save_file(tensors, folder / DIFFERENCE)
        files[DIFFERENCE] = "what was trained alone: its tensors by their names in the network while it was trained"
    if isinstance(fitted, ModulePredictor) and isinstance(fitted.module, Classifier):
        updates = layer_updates(fitted.module.backbone)
        if updates:
            write_peft(updates, fitted.module, folder / ADAPTER)
            files[f"{ADAPTER}/"] = "the low-rank updates for the library peft, and the linear head beside them"
    return files


def write_peft(updates: list[LayerUpdate], module: Classifier, folder: Path) -> None:
    """Write low-rank updates in the format of peft, and the head beside them.

    Args:
        updates: Of all layers.
        module: The classifier; its head is linear.
        folder: A folder to create.
    """
    folder.mkdir()
    info, body = module.backbone.info, module.backbone.body
    state: dict[str, Tensor] = {}
    for update in updates:
        name = library_name(info, update.layer)
        layer = body.get_submodule(update.layer)
        a, b = _in_peft_shape(update, layer)
        state[f"base_model.model.{name}.lora_A.weight"] = a.cpu().clone().contiguous()
        state[f"base_model.model.{name}.lora_B.weight"] = b.cpu().clone().contiguous()
    save_file(state, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(_config(updates, info), indent=2))
    head = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.head.state_dict().items()}
    save_file(head, folder / HEAD)


def library_name(info: BackboneInfo, layer: str) -> str:
    """Return the name of a layer of a backbone's body in the network as its own library makes it."""
    return layer.removeprefix("model.") if info.family == "hf" else layer


def _in_peft_shape(update: LayerUpdate, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return A and B as peft has them: of a convolution, A is a kernel and B one of 1 x 1."""
    if not isinstance(layer, nn.Conv2d):
        return update.a, update.b
    return update.a.view(-1, *update.weight_shape[1:]), update.b[..., None, None]


def _config(updates: list[LayerUpdate], info: BackboneInfo) -> dict[str, Any]:
    ranks = {library_name(info, each.layer): len(each.a) for each in updates}
    alphas = {library_name(info, each.layer): each.scale * len(each.a) for each in updates}
    first = next(iter(ranks))
    rank, alpha = ranks[first], alphas[first]
    base = info.recipe["weights"].get("name", "") if info.family == "timm" else ""
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION" if info.family == "hf" and info.modality == "text" else None,
        "base_model_name_or_path": f"{info.name.partition(':')[2] or info.name}{f'.{base}' if base else ''}",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": list(ranks),
        "rank_pattern": {f"^{name}$": each for name, each in ranks.items() if each != rank},
        "alpha_pattern": {f"^{name}$": each for name, each in alphas.items() if each != alpha},
    }
