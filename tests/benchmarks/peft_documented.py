"""What peft documents of its methods for classifiers, and its models of MiniLM and EfficientNet-Lite0 as it says.

Read by ``peft_side_by_side.py``. The settings were looked up in the repository and the documentation of peft; where an
example is of another kind of network, targets are the nearest ones, and the source says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import peft
import timm
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoModel, get_linear_schedule_with_warmup

MINILM, LITE = "sentence-transformers/all-MiniLM-L6-v2", "tf_efficientnet_lite0"
POINTWISE = r".*\.conv_pwl?"  # as peft's guide to custom models takes the 1 x 1 convolutions of a timm network


@dataclass(frozen=True)
class Documented:
    """Settings that peft documents.

    Attributes:
        ours: The method of tlbench beside it.
        config: peft's configuration, but for the head.
        lr: Rate of AdamW (of Adam where the rate is constant), for the head too.
        warmup: Share of the steps over which the rate rises, before it falls linearly; None: it is constant.
        source: Where they are documented, below the repository huggingface/peft.
    """

    ours: str
    config: Callable[..., peft.PeftConfig]
    lr: float
    warmup: float | None
    source: str


def _lora(**given: Any) -> Callable[..., peft.PeftConfig]:
    return lambda **head: peft.LoraConfig(**given, **head)


def _ia3(**head: Any) -> peft.PeftConfig:
    targets = ["key", "value", "output.dense"]
    return peft.IA3Config(target_modules=targets, feedforward_modules=["output.dense"], **head)


TEXT_EXAMPLES = "examples/sequence_classification"
VALUE = ["query", "value"]
DOCUMENTED: dict[str, dict[str, Documented]] = {
    "intents": {
        "LoRA": Documented(
            "lora",
            _lora(r=8, lora_alpha=16, lora_dropout=0.1, target_modules=VALUE),
            3e-4,
            0.06,
            f"{TEXT_EXAMPLES}/LoRA.ipynb; targets: peft's own for BERT",
        ),
        "(IA)3": Documented("ssf", _ia3, 1e-3, 0.06, f"{TEXT_EXAMPLES}/IA3.ipynb; targets: peft's own for BERT"),
        "(IA)3, guide": Documented(
            "ssf",
            _ia3,
            8e-3,
            0.0,
            "docs/source/task_guides/ia3.md, which generates text; targets: peft's own for BERT",
        ),
        "BEFT": Documented(
            "bitfit",
            lambda **head: peft.BeftConfig(target_modules=["value"], **head),
            8e-3,
            0.0,
            "examples/beft_finetuning/beft_finetuning.py, which generates text; targets: peft's own for BERT",
        ),
        "LayerNorm tuning": Documented(
            "bitfit",
            lambda **head: peft.LNTuningConfig(target_modules=["LayerNorm"], **head),
            1e-3,
            0.06,
            "docs/source/package_reference/layernorm_tuning.md, which names no rate: that of (IA)3",
        ),
    },
    "photos": {
        "LoRA": Documented(
            "lora",
            _lora(r=8, target_modules=POINTWISE),
            2e-4,
            None,
            "examples/image_classification/image_classification_timm_peft_lora.ipynb",
        ),
        "LoRA, guide": Documented(
            "lora",
            _lora(r=16, lora_alpha=16, lora_dropout=0.1, target_modules=POINTWISE),
            5e-3,
            0.0,
            "docs/source/task_guides/lora_based_methods.md, whose network has attention",
        ),
        "(IA)3": Documented(
            "ssf",
            lambda **head: peft.IA3Config(target_modules=POINTWISE, feedforward_modules=[], **head),
            1e-3,
            0.06,
            f"{TEXT_EXAMPLES}/IA3.ipynb, whose network has attention",
        ),
    },
}


class TextClassifier(nn.Module):
    """MiniLM, the mean of its last states, and a linear layer."""

    def __init__(self, classes: int, pad: int) -> None:
        super().__init__()
        self.encoder, self.pad = AutoModel.from_pretrained(MINILM), pad
        self.classifier = nn.Linear(self.encoder.config.hidden_size, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (B, classes) of token ids (B, L)."""
        mask = (ids != self.pad).long()
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.classifier((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def their_model(task: str, classes: int, pad: int, documented: Documented) -> nn.Module:
    """Return peft's model of raw token ids, or of prepared images."""
    if task == "intents":
        plain: nn.Module = TextClassifier(classes, pad)
    else:
        plain = timm.create_model(LITE, pretrained=True, num_classes=classes)
    return peft.get_peft_model(plain, documented.config(modules_to_save=["classifier"]))  # type: ignore[arg-type]


def their_optimizer(model: nn.Module, documented: Documented, steps: int) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Return the optimiser and its schedule, which steps after every batch."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if documented.warmup is None:
        adam = torch.optim.Adam(trained, lr=documented.lr)
        return adam, LambdaLR(adam, lambda step: 1.0)
    adamw = torch.optim.AdamW(trained, lr=documented.lr)
    return adamw, get_linear_schedule_with_warmup(adamw, round(documented.warmup * steps), steps)
